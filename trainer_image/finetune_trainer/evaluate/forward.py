"""Eval-mode forward passes over rows, shared by the ranks: logits, features, loss."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer.data.augment import CHANGE
from finetune_trainer.data.encode import IGNORED, lengths
from finetune_trainer.data.gather import PART_NAMES
from finetune_trainer.evaluate.turns import turns
from finetune_trainer.session import Session

Batch = dict[str, torch.Tensor]
REFERENCE = "reference"
"""What the base makes of a row, as bits."""
JUDGED = "good"
"""Whether a row's answer is a good one."""
ROW = "row"
"""A row's number in its part."""
BESIDE = ("labels", REFERENCE, JUDGED, ROW)
"""What stands beside a row: for losses, not for models."""


@dataclass(frozen=True)
class Rows:
    """Tokenised rows in memory-mapped columns, and how to pad them."""

    dataset: Any
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    lengths: NDArray[np.int32]

    @classmethod
    def of_parts(cls, prepared: Path, collate: Any) -> dict[str, Self]:
        """All parts of the prepared data by name."""
        return {name: cls.of(prepared / name, collate) for name in PART_NAMES}

    @classmethod
    def of(cls, folder: Path, collate: Any) -> Self:
        """The rows of one folder."""
        import datasets

        dataset = datasets.load_from_disk(str(folder))
        if CHANGE.name in dataset.column_names:
            dataset = dataset.remove_columns(CHANGE.name)
        return cls(dataset, collate, lengths(dataset.data.table))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers [rows]."""
        return np.asarray(self.dataset["labels"], np.int64)

    @property
    def token_labels(self) -> list[NDArray[np.int64]]:
        """Class numbers of every row's labelled tokens."""
        every = (np.asarray(labels, np.int64) for labels in self.dataset["labels"])
        return [labels[labels != IGNORED] for labels in every]

    def some(self, chosen: NDArray[np.int64]) -> "Rows":
        """A subset, in the order of ``chosen``."""
        return Rows(self.dataset.select(chosen), self.collate, self.lengths[chosen])


def forward(
    model: Any,
    rows: Rows,
    session: Session,
    take: Callable[[Any, Batch], torch.Tensor],
    *,
    may_stop: bool = False,
) -> NDArray[np.float32]:
    """``take(model, batch)`` [batch, width] of every row, in row order, on every rank.

    Stopped on all ranks when ``may_stop`` and one is asked to stop.
    """

    def taken(batch: Batch, count: int) -> NDArray[np.float32]:
        return take(model, batch).float().cpu().numpy()[:count]

    parts = _pass(model, rows, session, taken, may_stop)
    chosen = np.concatenate([mine for mine, _ in parts])
    results = np.concatenate([values for _, values in parts]) if parts else None
    return _merge(session.gang.gather_objects((chosen, results)), len(rows))


def forward_tokens(
    model: Any,
    rows: Rows,
    session: Session,
    take: Callable[[Any, Batch], torch.Tensor],
    *,
    may_stop: bool = False,
) -> list[NDArray[np.float32]]:
    """``take(model, batch)`` [batch, tokens, width] at the tokens of every row that have a label
    [labelled tokens, width], in row order, on every rank; stopped as ``forward``."""

    def taken(batch: Batch, count: int) -> list[NDArray[np.float32]]:
        values = take(model, batch)[:, -batch["labels"].shape[1] :].float().cpu().numpy()
        labelled = (batch["labels"] != IGNORED).cpu().numpy()
        return [values[row][labelled[row]] for row in range(count)]

    return forward_rows(model, rows, session, taken, may_stop=may_stop)


def forward_rows(
    model: Any,
    rows: Rows,
    session: Session,
    take: Callable[[Batch, int], list[Any]],
    *,
    may_stop: bool = False,
) -> list[Any]:
    """``take(batch, count)``, something of each of the first ``count`` rows of a batch, in row
    order, on every rank; stopped as ``forward``."""
    mine: dict[int, Any] = {}
    for chosen, values in _pass(model, rows, session, take, may_stop):
        mine.update(zip(chosen.tolist(), values, strict=True))
    merged: dict[int, Any] = {}
    for part in session.gang.gather_objects(mine):
        merged.update(part)
    return [merged[row] for row in range(len(rows))]


def _pass(
    model: Any,
    rows: Rows,
    session: Session,
    take: Callable[[Batch, int], Any],
    may_stop: bool,
) -> list[tuple[NDArray[np.int64], Any]]:
    """This rank's share: numbers of rows, and what ``take`` made of their batch."""
    gang, results = session.gang, []
    with inference(model, autocast=session.autocast):
        for chosen, count in turns(rows.lengths, gang.rank, gang.world):
            batch = rows.collate([rows.dataset[int(row)] for row in chosen])
            batch = {name: value.to(gang.device) for name, value in batch.items()}
            results.append((chosen[:count], take(batch, count)))
            session.beat()
            if may_stop:
                session.leave_if_asked()
    return results


@contextmanager
def inference(model: Any, *, autocast: bool) -> Iterator[None]:
    """Eval mode without gradients; the model's mode is put back afterwards."""
    was_training = model.training
    model.eval()
    with (
        torch.no_grad(),
        torch.autocast("cuda", torch.bfloat16) if autocast else nullcontext(),
    ):
        yield
    model.train(was_training)


def _merge(
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32] | None]], count: int
) -> NDArray[np.float32]:
    width = next(values.shape[1] for _, values in parts if values is not None)
    merged = np.empty((count, width), np.float32)
    for rows, values in parts:
        if values is not None:
            merged[rows] = values
    return merged


def without_labels(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a model is given when nothing is learnt."""
    return {name: value for name, value in batch.items() if name not in BESIDE}


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The class scores of a batch."""
    return scores(model(**without_labels(batch)))


def scores(outputs: Any) -> torch.Tensor:
    """A model's class scores; of one that points, the scores of start and end at every token."""
    if "start_logits" in outputs:
        return torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=-1)
    found: torch.Tensor = outputs["logits"]
    return found


def mean_loss(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy of ``scores`` [rows, classes]."""
    return float(
        torch.nn.functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels))
    )
