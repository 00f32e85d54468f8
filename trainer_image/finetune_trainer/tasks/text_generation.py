"""Text generation, supervised: the model learns to answer as the rows do (TRL's SFTTrainer)."""

from pathlib import Path
from typing import Any

import numpy as np

from finetune_api.dataset import Mask
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.answers import AnswerEncoder
from finetune_trainer.evaluate import answers
from finetune_trainer.evaluate.forward import Rows, forward
from finetune_trainer.evaluate.generate import Writer
from finetune_trainer.evaluate.report import write_answers
from finetune_trainer.model import checks
from finetune_trainer.model.load import Loaded, load_language_model, meta_language_model
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 2048


class TextGeneration:
    """Loads a causal language model, has it answer, trains, has it answer again."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places = session.job, session.places
        self.session, self.tokenizer = session, tokenizer
        config = checks.read_config(places.model, job.spec.model.uri)
        self.loaded = load_language_model(
            places.model, config, pad=tokenizer.pad_token_id,
            dropout=job.spec.training.dropout, storage=session.storage,
        )  # fmt: skip
        self.parts = Rows.of_parts(places.prepared, _collator(tokenizer.pad_token_id))
        self.writer = Writer(session, tokenizer, self.parts["test"])

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the model is no causal language model."""
        checks.check_language_model(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Prompts with their completions, or conversations."""
        mask, uri = job.spec.dataset.mask or Mask.COMPLETION, job.spec.model.uri
        return Encoding(
            LENGTH_CAP,
            lambda rows: AnswerEncoder(rows.layout, mask, tokenizer, uri),
        )  # fmt: skip

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The language model without weights."""
        return meta_language_model(config)

    def baseline(self) -> None:
        """What the base answers to the test rows' prompts."""
        self.base = self.writer.of_base(self.loaded.model)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """TRL's SFTTrainer with our core."""
        from finetune_trainer.objectives.sft import supervised_trainer

        return supervised_trainer(options, processing_class=self.tokenizer, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows' learnt tokens."""
        from finetune_trainer.objectives.sft import loss_and_tokens

        sums = forward(model, self.parts["validation"], self.session, loss_and_tokens)
        loss, tokens = sums.astype(np.float64).sum(axis=0)
        return float(loss / tokens)

    def evaluate(self, model: Any) -> None:
        """Exact match, and for JSON its validity, against the base's answers."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        tuned = self.writer.answers(model)
        if session.gang.is_main:
            rows = self.writer.references()
            seed = session.job.spec.training.seed
            result = answers.compare([row.answer for row in rows], self.base, tuned, seed=seed)
            write_answers(session, result, rows, self.base, tuned)

    def describe(self, folder: Path) -> None:
        """How answers end, so that any program that loads the model stops where it should."""
        self.writer.generation_config().save_pretrained(folder)


def _collator(pad: int) -> Any:
    """Pads ids and labels to the longest row of the batch."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=pad)
