"""Eval-mode forward passes over rows, shared by the ranks: logits, features, loss.

Ranks take every world-th row of the order by length, so each has the same work and little padding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer.data.gather import PART_NAMES

if TYPE_CHECKING:
    from finetune_trainer.train import Session

TOKENS_AT_ONCE = 4096
"""Padded tokens of a forward batch: nothing is kept for a backward pass."""


@dataclass(frozen=True)
class Rows:
    """Tokenised rows in memory-mapped columns, and how to pad them."""

    dataset: Any
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    lengths: NDArray[np.int32]

    @classmethod
    def of_parts(cls, prepared: Path, collate: Any) -> dict[str, Self]:
        """All parts of the prepared data by name."""
        import datasets
        import pyarrow.compute as pc

        parts = {}
        for name in PART_NAMES:
            dataset = datasets.load_from_disk(str(prepared / name))
            lengths = pc.list_value_length(dataset.data.column("input_ids"))
            parts[name] = cls(dataset, collate, lengths.to_numpy().astype(np.int32))
        return parts

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
    session: "Session",
    take: Callable[[Any, dict[str, torch.Tensor]], torch.Tensor],
    *,
    may_stop: bool = False,
) -> NDArray[np.float32]:
    """``take(model, batch)`` [batch, width] of every row, in row order, on every rank.

    Stopped on all ranks when ``may_stop`` and one is asked to stop.
    """
    gang, order = session.gang, np.argsort(-rows.lengths, kind="stable")
    mine = order[gang.rank :: gang.world]
    results: list[NDArray[np.float32]] = []
    done, stopped = 0, False
    with inference(model, autocast=session.autocast):
        while done < len(mine) and not stopped:
            count = max(1, TOKENS_AT_ONCE // max(1, int(rows.lengths[mine[done]])))
            chosen = mine[done : done + count]
            batch = rows.collate([rows.dataset[int(row)] for row in chosen])
            batch = {name: value.to(gang.device) for name, value in batch.items()}
            results.append(take(model, batch).float().cpu().numpy())
            done += len(chosen)
            session.beat()
            stopped = may_stop and session.stop_requested
    if gang.any(stopped):
        raise Stopped
    part = np.concatenate(results) if results else None
    return _merge(gang.gather_objects((mine, part)), len(rows))


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
    return {name: value for name, value in batch.items() if name != "labels"}


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The class scores of a batch."""
    scores: torch.Tensor = model(**without_labels(batch))["logits"]
    return scores


def mean_loss(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy of ``scores`` [rows, classes]."""
    return float(
        torch.nn.functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels))
    )
