"""Cross-field rules of tasks whose rows hold media."""

from finetune_api.learning import MEDIA, Media, Task
from finetune_api.rule import Rule

_OF_TEXT = f"!(self.task in {[*map(str, MEDIA)]})"
_NAMED = ", ".join(MEDIA)

_CLASSIFYING = [str(task) for task in MEDIA if task is not Task.SPEECH_RECOGNITION]

FOLDERS: dict[str, Media] = {"ImageFolder": Media.IMAGE, "AudioFolder": Media.AUDIO}
"""Formats that are a folder of files for each class, and of what the files are."""
VIRTUAL_METHODS = ("promptTuning", "prefixTuning", "pTuning")


def _tasks_of(media: Media) -> list[str]:
    return [task for task in _CLASSIFYING if MEDIA[Task(task)] is media]


MEDIA_RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec",
        cel=f"{_OF_TEXT} || !(has(self.method.promptTuning) || has(self.method.prefixTuning) || "
        "has(self.method.pTuning))",
        message=f"method.{', '.join(VIRTUAL_METHODS)} put tokens before a text, which {_NAMED} "
        "do not read: use lora",
        holds=lambda spec: spec.task not in MEDIA or spec.method.kind not in VIRTUAL_METHODS,
    ),
    Rule(
        scope="spec",
        cel=f"{_OF_TEXT} || (!has(self.dataset.maxLength) && !has(self.dataset.overlength))",
        message=f"dataset.maxLength and dataset.overlength are for text, not for {_NAMED}: "
        "remove them",
        holds=lambda spec: (
            spec.task not in MEDIA
            or (spec.dataset.max_length is None and spec.dataset.overlength is None)
        ),
    ),
    Rule(
        scope="spec",
        cel=f"{_OF_TEXT} || self.training.neftuneAlpha == 0.0",
        message=f"training.neftuneAlpha disturbs embeddings of tokens, which {_NAMED} do not "
        "have: remove it",
        holds=lambda spec: spec.task not in MEDIA or spec.training.neftune_alpha == 0,
    ),
    Rule(
        scope="spec",
        cel="self.task != 'SpeechRecognition' || self.training.labelSmoothing == 0.0",
        message="training.labelSmoothing is for classes, which SpeechRecognition does not have: "
        "remove it",
        holds=lambda spec: (
            spec.task is not Task.SPEECH_RECOGNITION or spec.training.label_smoothing == 0
        ),
    ),
    *(
        Rule(
            scope="spec",
            cel=f"self.dataset.format != '{name}' || self.task in {_tasks_of(media)}",
            message=f"dataset.format {name} is for task {' and '.join(_tasks_of(media))}: "
            "remove it",
            holds=lambda spec, name=name, media=media: (  # type: ignore[misc]
                spec.dataset.format != name or spec.task in _tasks_of(media)
            ),
        )
        for name, media in FOLDERS.items()
    ),
)
