"""Eval-mode forward passes over rows, shared by the ranks: logits, features, loss."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer.distributed import Gang
from finetune_trainer.evaluate.turns import turns


@dataclass(frozen=True)
class Rows:
    """Tokenised rows in memory-mapped columns, and how to pad them."""

    dataset: Any
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    lengths: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers [rows]."""
        return np.asarray(self.dataset["labels"], np.int64)

    def some(self, chosen: NDArray[np.int64]) -> "Rows":
        """A subset, in the order of ``chosen``."""
        return Rows(self.dataset.select(chosen), self.collate, self.lengths[chosen])


class Stopped(Exception):  # noqa: N818  (an outcome, not an error)
    """A stop request arrived during a long pass; all ranks leave together."""


def forward(
    model: Any,
    rows: Rows,
    gang: Gang,
    take: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor],
    *,
    beat: Callable[[], None],
    stop: Callable[[], bool] | None = None,
    autocast: bool = False,
) -> NDArray[np.float32]:
    """``take(outputs, batch)`` [batch, width] of every row, in row order, on every rank.

    Stopped on all ranks when ``stop()`` is true on one.
    """
    results: list[NDArray[np.float32]] = []
    mine: list[NDArray[np.int64]] = []
    was_training = model.training
    model.eval()
    context = torch.autocast("cuda", torch.bfloat16) if autocast else nullcontext()
    try:
        with torch.no_grad(), context:
            for chosen, count in turns(rows.lengths, gang.rank, gang.world):
                batch = rows.collate([rows.dataset[int(row)] for row in chosen])
                batch = {name: value.to(gang.device) for name, value in batch.items()}
                inputs = {name: value for name, value in batch.items() if name != "labels"}
                results.append(take(model(**inputs), batch).float().cpu().numpy()[:count])
                mine.append(chosen[:count])
                beat()
                if stop is not None and gang.any(stop()):
                    raise Stopped
    finally:
        model.train(was_training)
    part = np.concatenate(results) if results else None
    return _merge(gang.gather_objects((np.concatenate(mine), part)), len(rows))


def _merge(
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32] | None]], count: int
) -> NDArray[np.float32]:
    width = next(values.shape[1] for _, values in parts if values is not None)
    merged = np.empty((count, width), np.float32)
    for rows, values in parts:
        if values is not None:
            merged[rows] = values
    return merged


def logits(outputs: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The class scores of a batch."""
    scores: torch.Tensor = outputs["logits"]
    return scores


def mean_loss(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy of ``scores`` [rows, classes]."""
    return float(
        torch.nn.functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels))
    )
