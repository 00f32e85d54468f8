"""The order of training rows: one endless stream of shuffled passes, cut into global batches.

Global batch k is the same set of rows however many ranks share it, and a resumed run only skips
k batches. Passes follow each other without a gap, so no row is dropped or repeated at a pass's
end. Rows of similar length stand together where that saves padding.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

EFFICIENT = 0.85
"""Share of useful tokens in random batches above which rows are not grouped by length."""
REFERENCE_BATCH = 8
"""Rows of the random batches that are measured: fixed, or the order would depend on the sharing."""
MEGABATCHES = 50
"""Global batches that are sorted together: long enough to group, short enough to stay random."""


class GlobalBatches:
    """Row numbers of ``steps`` global batches, in the order in which ranks take micro-batches."""

    def __init__(
        self,
        lengths: NDArray[np.int32],
        *,
        global_batch: int,
        steps: int,
        seed: int,
    ) -> None:
        self.lengths, self.global_batch, self.steps, self.seed = lengths, global_batch, steps, seed
        self.grouped = padding_efficiency(lengths, REFERENCE_BATCH, seed) < EFFICIENT

    def __len__(self) -> int:
        return self.steps * self.global_batch

    def __iter__(self) -> Iterator[int]:
        rows = self._grouped() if self.grouped else self._passes()
        return islice(rows, len(self))

    def _passes(self) -> Iterator[int]:
        epoch = 0
        while True:
            order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.lengths))
            yield from order.tolist()
            epoch += 1

    def _grouped(self) -> Iterator[int]:
        passes, number = self._passes(), 0
        while True:
            chunk = np.fromiter(islice(passes, MEGABATCHES * self.global_batch), np.int64)
            chunk = chunk[np.argsort(-self.lengths[chunk], kind="stable")]
            batches = chunk.reshape(MEGABATCHES, self.global_batch)
            rng = np.random.default_rng([self.seed, 2, number])
            yield from rng.permutation(batches).reshape(-1).tolist()
            number += 1


def padding_efficiency(lengths: NDArray[np.int32], batch: int, seed: int) -> float:
    """Useful share of tokens when ``batch`` random rows are padded to the longest of them."""
    order = np.random.default_rng([seed, 3]).permutation(len(lengths))
    whole = len(order) // batch * batch
    if whole == 0:
        return 1.0
    groups = lengths[order[:whole]].reshape(-1, batch)
    return float(groups.sum() / (groups.max(axis=1).sum() * batch))
