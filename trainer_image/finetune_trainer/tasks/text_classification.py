"""Text classification, one class a row."""

from typing import Any

import torch

from finetune_api.jobconfig import JobConfig
from finetune_trainer.config import Places
from finetune_trainer.losses import classification_loss
from finetune_trainer.model import checks
from finetune_trainer.model.load import Classifier, configure, load, on_meta


class TextClassification:
    """Loads a classifier, pads batches, computes the loss."""

    loss = staticmethod(classification_loss)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture cannot learn this task."""
        checks.check_classification(config, uri)

    @staticmethod
    def load(
        job: JobConfig, places: Places, tokenizer: Any, labels: list[str], *, seed: int
    ) -> Classifier:
        """The base model with a head for ``labels``."""
        config = checks.read_config(places.model, job.spec.model.uri)
        dropout = job.spec.training.dropout
        configure(config, labels, dropout=dropout, pad=tokenizer.pad_token_id)
        return load(places.model, config, seed=seed)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Classifier:
        """The same model without weights."""
        return on_meta(configure(config, labels, dropout=None, pad=pad))


class Collator:
    """Pads rows of token ids to the longest of the batch."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [rows, longest], ``labels`` [rows]."""
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[number, :length] = torch.as_tensor(row["input_ids"])
            mask[number, :length] = 1
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
