"""How ranks share the rows of a long pass.

Rows are cut by length into turns, and each rank takes every world-th row of a turn: all have the
same work, little padding, and the same number of passes, which ranks that share a model's weights
(ZeRO-3) can only make together.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

TOKENS_AT_ONCE = 4096
"""Padded tokens of a forward batch: nothing is kept for a backward pass."""


def turns(
    lengths: NDArray[np.int32], rank: int, world: int
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The batches of a rank, longest rows first, equally many on every rank; and how many rows of
    each count. A rank that the last turn has no row for computes another's, which does not."""
    order = np.argsort(-lengths, kind="stable")
    done = 0
    while done < len(order):
        count = max(1, TOKENS_AT_ONCE // max(1, int(lengths[order[done]])))
        turn = order[done : done + count * world]
        mine = turn[rank::world]
        yield (mine, len(mine)) if len(mine) else (turn[:1], 0)
        done += len(turn)
