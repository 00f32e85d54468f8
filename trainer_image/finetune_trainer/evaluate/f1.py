"""F1 of things that a row holds any number of: spans, labels. From counts a row and a name.

Counted once, so that an interval's thousands of draws only add counts up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Pair, Scores


@dataclass(frozen=True)
class Counts:
    """``both`` [rows, names]: how many a row truly holds plus how many were predicted;
    ``right``: how many of them are the same."""

    right: NDArray[np.int64]
    both: NDArray[np.int64]

    def micro(self, rows: NDArray[np.int64]) -> float:
        """F1 over all of them, each counting the same."""
        return _f1(self.right[rows].sum(keepdims=True), self.both[rows].sum(keepdims=True))

    def macro(self, rows: NDArray[np.int64]) -> float:
        """F1 averaged over names, as seqeval gives it: names that stand nowhere do not count."""
        return _f1(self.right[rows].sum(axis=0), self.both[rows].sum(axis=0))

    def by_row(self) -> Scores:
        """F1 of each row alone; 1.0 where nothing is and nothing was predicted [rows]."""
        both = self.both.sum(axis=1)
        shares: Scores = np.where(both > 0, 2 * self.right.sum(axis=1) / np.maximum(both, 1), 1.0)
        return shares


def compare(base: Counts, tuned: Counts, *, seed: int) -> Comparison:
    """Micro and macro F1 of two predictions of the same rows."""

    def micro(rows: NDArray[np.int64]) -> Pair:
        return base.micro(rows), tuned.micro(rows)

    def macro(rows: NDArray[np.int64]) -> Pair:
        return base.macro(rows), tuned.macro(rows)

    metrics = {"micro_f1": micro, "macro_f1": macro}
    return comparing.compare(metrics, base.by_row(), tuned.by_row(), seed=seed)


def _f1(right: NDArray[np.int64], both: NDArray[np.int64]) -> float:
    present = both > 0
    return float((2 * right[present] / both[present]).mean()) if present.any() else 0.0
