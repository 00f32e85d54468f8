"""Summarization and translation: an encoder and a decoder make a text of a text."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.data.pairs import PairEncoder
from finetune_trainer.evaluate import summaries, translations
from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward, logits
from finetune_trainer.evaluate.generate import Reference
from finetune_trainer.evaluate.report import write_answers
from finetune_trainer.evaluate.rewrite import Rewriter
from finetune_trainer.losses import loss_and_tokens, token_loss
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import (
    Loaded,
    load_sequence_to_sequence,
    meta_sequence_to_sequence,
)
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 1024


class SequenceToSequence:
    """Loads the model, has it write, trains, has it write again. Tasks differ in their metrics."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places = session.job, session.places
        self.session, self.tokenizer = session, tokenizer
        config = checks.read_config(places.model, job.spec.model.uri)
        self.loaded = load_sequence_to_sequence(
            places.model, config, pad=tokenizer.pad_token_id,
            dropout=job.spec.training.dropout, storage=session.storage,
        )  # fmt: skip
        model = self.loaded.model
        collate = Collator(tokenizer.pad_token_id, model.prepare_decoder_input_ids_from_labels)
        self.parts = Rows.of_parts(places.prepared, collate)
        self.writer = Rewriter(session, tokenizer, self.parts["test"], model)

    trial = staticmethod(trial.of_encoder_decoder)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the model has no encoder and decoder."""
        checks.check_sequence_to_sequence(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Sources and targets."""
        return Encoding(LENGTH_CAP, lambda rows: PairEncoder(tokenizer, job.spec.model.uri))

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The model without weights."""
        return meta_sequence_to_sequence(config)

    def baseline(self) -> None:
        """What the base makes of the test rows' sources."""
        self.base = self.writer.of_base(self.loaded.model)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss."""
        from transformers import TrainingArguments

        from finetune_trainer.train import FineTuneTrainer

        loss = partial(token_loss, smoothing=self.session.job.spec.training.label_smoothing)
        return FineTuneTrainer(args=TrainingArguments(**options), compute_loss_func=loss, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows' target tokens."""
        sums = forward(model, self.parts["validation"], self.session, _loss_and_tokens)
        loss, tokens = sums.astype(np.float64).sum(axis=0)
        return float(loss / tokens)

    def evaluate(self, model: Any) -> None:
        """The task's metrics against the base's texts."""
        self.session.channel.stage(Stage.EVALUATE)
        tuned = self.writer.answers(model)
        if self.session.gang.is_main:
            rows = self.writer.references()
            result = self.compare(rows, self.base, tuned, self.session.job.spec.training.seed)
            write_answers(self.session, result, rows, self.base, tuned)

    def exam(self, folder: Path) -> Exam:
        """Texts, compared as those of the test rows."""
        rows, seed = (
            Rows.of(folder, self.parts["test"].collate),
            self.session.job.spec.training.seed,
        )
        writer = Rewriter(self.session, self.tokenizer, rows, self.loaded.model)
        return Exam(
            lambda model: np.array(writer.answers(model)),
            lambda base, tuned: self.compare(
                writer.references(), base.tolist(), tuned.tolist(), seed
            ),
        )

    def compare(
        self, rows: list[Reference], base: list[str], tuned: list[str], seed: int
    ) -> Comparison:
        """Base against tuned."""
        raise NotImplementedError

    def describe(self, folder: Path) -> None:
        """How texts begin and end, so that any program writes them as they were compared."""
        self.writer.generation_config().save_pretrained(folder)


class Summarization(SequenceToSequence):
    """Compared by ROUGE and by what the source does not say."""

    def compare(
        self, rows: list[Reference], base: list[str], tuned: list[str], seed: int
    ) -> Comparison:
        """ROUGE-1, 2, L and grounding."""
        sources, references = [row.prompt for row in rows], [row.answer for row in rows]
        return summaries.compare(sources, references, base, tuned, seed=seed)


class Translation(SequenceToSequence):
    """Compared by BLEU and chrF."""

    def compare(
        self, rows: list[Reference], base: list[str], tuned: list[str], seed: int
    ) -> Comparison:
        """BLEU and chrF."""
        return translations.compare([row.answer for row in rows], base, tuned, seed=seed)


class Collator:
    """Pads sources and targets to the longest of the batch. ``shifted`` makes of labels what the
    decoder is given: the token before each, as the model wants the first one."""

    def __init__(self, pad: int, shifted: Callable[..., torch.Tensor]) -> None:
        self.pad, self.shifted = pad, shifted

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [rows, longest source]; ``labels``, -100 where
        padded, and ``decoder_input_ids`` [rows, longest target]."""
        ids = _padded([row["input_ids"] for row in rows], self.pad)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        labels = _padded([row["labels"] for row in rows], IGNORED)
        return {
            "input_ids": ids, "attention_mask": mask, "labels": labels,
            "decoder_input_ids": self.shifted(labels=labels),
        }  # fmt: skip


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


def _loss_and_tokens(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return loss_and_tokens(logits(model, batch), batch["labels"])
