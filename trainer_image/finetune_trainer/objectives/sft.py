"""Supervised fine-tuning: the model learns to answer as the rows do."""

from pathlib import Path
from typing import Any

from finetune_api.dataset import Mask
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.answers import AnswerEncoder
from finetune_trainer.evaluate import answers
from finetune_trainer.evaluate.generate import Writer
from finetune_trainer.evaluate.report import write_answers
from finetune_trainer.model.load import Loaded
from finetune_trainer.objectives.written import LENGTH_CAP, Written
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding


class Supervised(Written):
    """Has the model answer, trains, has it answer again."""

    def __init__(self, session: Session, tokenizer: Any, loaded: Loaded) -> None:
        super().__init__(session, tokenizer, loaded)
        self.writer = Writer(session, tokenizer, self.parts["test"])

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Prompts with their completions, or conversations."""
        mask, uri = job.spec.dataset.mask or Mask.COMPLETION, job.spec.model.uri
        return Encoding(LENGTH_CAP, lambda rows: AnswerEncoder(rows.layout, mask, tokenizer, uri))

    def baseline(self) -> None:
        """What the base answers to the test rows' prompts."""
        self.base = self.writer.of_base(self.loaded.model)
        self.pack()

    def evaluate(self, model: Any) -> None:
        """Exact match, and for JSON its validity, against the base's answers."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        tuned = self.writer.answers(model)
        if session.gang.is_main:
            rows = self.writer.references()
            seed = session.job.spec.training.seed
            asked, wanted = [row.prompt for row in rows], [row.answer for row in rows]
            result = answers.compare(asked, wanted, self.base, tuned, seed=seed)
            write_answers(session, result, rows, self.base, tuned)

    def describe(self, folder: Path) -> None:
        """How answers end, so that any program that loads the model stops where it should."""
        self.writer.generation_config().save_pretrained(folder)
