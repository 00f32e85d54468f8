"""Every task's implementation, imported when it is needed.

Rows are read and checked before any library of models is imported.
"""

from importlib import import_module
from typing import Any

from finetune_api.job import FineTuneJobSpec
from finetune_api.learning import Objective, learnt
from finetune_api.learning import Task as TaskName
from finetune_trainer.tasks.task import Task

MODULES: dict[TaskName | Objective, str] = {
    Objective.REWARD: "reward",
    TaskName.QUESTION_ANSWERING: "question_answering",
    TaskName.AUDIO_CLASSIFICATION: "audio_classification",
    TaskName.IMAGE_CLASSIFICATION: "image_classification",
    TaskName.SPEECH_RECOGNITION: "speech_recognition",
    TaskName.SUMMARIZATION: "sequence_to_sequence",
    TaskName.TEXT_CLASSIFICATION: "text_classification",
    TaskName.TEXT_GENERATION: "text_generation",
    TaskName.TRANSLATION: "sequence_to_sequence",
    TaskName.TOKEN_CLASSIFICATION: "token_classification",
}
"""The module whose class has the task's name, or that of an objective that has a model of its own
kind."""


def task_class(spec: FineTuneJobSpec, config: Any) -> type[Task]:
    """The implementation of a job's task, for a model of this configuration."""
    if spec.task is TaskName.SPEECH_RECOGNITION and config.is_encoder_decoder:
        from finetune_trainer.tasks.dictation import Dictation

        return Dictation
    name = learnt(spec.task, spec.objective)
    if name not in MODULES:
        name = spec.task
    module = import_module(f"finetune_trainer.tasks.{MODULES[name]}")
    found: type[Task] = getattr(module, name.value)
    return found
