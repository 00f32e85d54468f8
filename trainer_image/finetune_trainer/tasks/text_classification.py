"""Text classification: one class a row, any number of labels, or a number to be estimated. The
base's score is that of a linear probe."""

from collections.abc import Callable
from typing import Any

import torch

from finetune_api.errors import UserError
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import LabelKind
from finetune_trainer.data.encode import Encoder, TextEncoder
from finetune_trainer.data.gather import Gathered
from finetune_trainer.data.labelled_text import LabelledTextEncoder
from finetune_trainer.evaluate import targets
from finetune_trainer.evaluate.forward import Rows
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, configure, load_classifier, meta_classifier
from finetune_trainer.session import Session
from finetune_trainer.tasks.classification import Classification
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 512


class TextClassification(Classification):
    """Classes, labels or numbers of texts."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        super().__init__(session)
        job, places = session.job, session.places
        collate = Collator(tokenizer.pad_token_id, self.target.collate)
        self.parts = Rows.of_parts(places.prepared, collate)
        config = checks.read_config(places.model, job.spec.model.uri)
        dropout = job.spec.training.dropout
        configure(config, self.labels, dropout=dropout, pad=tokenizer.pad_token_id)
        config.problem_type = self.target.problem_type
        self.loaded = load_classifier(
            places.model, config, seed=job.spec.training.seed, storage=session.storage
        )

    trial = staticmethod(trial.of_scores)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no sequence-classification form."""
        checks.check_classification(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Texts and what they are."""

        def encoder(rows: Gathered) -> Encoder:
            if rows.kind is LabelKind.SINGLE:
                return TextEncoder(tokenizer)
            if rows.kind is LabelKind.NUMBER and job.spec.training.label_smoothing:
                raise UserError(
                    "training.labelSmoothing is for names of classes, and the labels are numbers",
                    "remove it",
                )
            return LabelledTextEncoder(tokenizer, rows.labels)

        return Encoding(LENGTH_CAP, encoder)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The classifier without weights."""
        return meta_classifier(configure(config, labels or [targets.VALUE], dropout=None, pad=pad))


class Collator:
    """Pads rows of token ids to the longest of the batch."""

    def __init__(self, pad: int, labels: Callable[[Any], torch.Tensor] = torch.tensor) -> None:
        self.pad, self.labels = pad, labels

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [rows, longest], ``labels`` [rows, …]."""
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[number, :length] = torch.as_tensor(row["input_ids"])
            mask[number, :length] = 1
        labels = self.labels([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
