"""What a model has lost of what its base could do: both on the general set, by the same metrics."""

from typing import Any

from finetune_api.progress import Stage
from finetune_trainer.data.gather import GENERAL_NAME
from finetune_trainer.evaluate import baseline
from finetune_trainer.evaluate.report import FORGETTING, write_results
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Task


class Forgetting:
    """Measures the base once it is as training finds it, and the tuned model at the end. Nothing of
    it where the job names no general set."""

    def __init__(self, session: Session, task: Task) -> None:
        self.session = session
        if session.job.spec.evaluation.forgetting is None:
            self.exam = None
            return
        self.exam = task.exam(session.places.prepared / GENERAL_NAME)
        self.base = baseline.passed(
            session, task.loaded.model, self.exam.answer, "answers", name=FORGETTING
        )

    def evaluate(self, model: Any) -> None:
        """Compare the tuned model with its base, and tell."""
        if self.exam is None:
            return
        self.session.channel.stage(Stage.EVALUATE)
        tuned = self.exam.answer(model)
        if self.session.gang.is_main:
            result = self.exam.compare(self.base, tuned)
            self.session.channel.forgetting(result.results)
            write_results(self.session, result, FORGETTING)
