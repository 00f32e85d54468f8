"""Training rows that change from pass to pass, by seed, row and pass: however ranks share them, and
wherever a run is resumed, a row looks the same at its nth visit."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from finetune_trainer.batches import GlobalBatches

Change = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


class Visits:
    """The order of training rows, each with how often it was there before."""

    def __init__(self, order: GlobalBatches) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        before: Counter[int] = Counter()
        for row in self.order:
            yield row, before[row]
            before[row] += 1


class ChangingRows:
    """Rows as they are at a visit."""

    def __init__(self, rows: Any, change: Change, seed: int) -> None:
        self.rows, self.change, self.seed = rows, change, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, visit: tuple[int, int]) -> dict[str, Any]:
        row, before = visit
        return self.change(self.rows[row], np.random.default_rng([self.seed, 6, row, before]))


def changing(parts: dict[str, Any], change: Change, seed: int) -> dict[str, Any]:
    """A trainer's arguments, with training rows that change."""
    rows = ChangingRows(parts["train_dataset"], change, seed)
    return parts | {"train_dataset": rows, "order": Visits(parts["order"])}
