"""Which rows are dropped as duplicates, and which because they leak into a held-out set. Pure.

Rows are compared by digests of their exact text: of what is asked, and of question and answer
together. A training row that says what an earlier one says is a duplicate. A training row that
asks what a held-out row asks, whatever its answer, is leakage: the comparison of base and tuned
model would reward memory.
"""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.split import TRAIN


def _halves(digests: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    pairs = digests.view(np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _like_the_one_before(digests: NDArray[np.void], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each row of ``order`` but the first: has it the digest of the one before it?"""
    first, second = _halves(digests)
    return (np.diff(first[order]) == 0) & (np.diff(second[order]) == 0)


def _shared(digests: NDArray[np.void]) -> NDArray[np.int64]:
    """Rows, in order, whose digest begins as another's does: all that can be equal, and few.

    One sort of one number a row, so millions of rows fit into memory.
    """
    first, _ = _halves(digests)
    order = np.argsort(first, kind="stable")
    same = np.diff(first[order]) == 0
    found = np.zeros(len(digests), np.bool_)
    found[order[1:][same]] = True
    found[order[:-1][same]] = True
    return np.flatnonzero(found)


def repeated(whole: NDArray[np.void]) -> NDArray[np.bool_]:
    """True for every row that stood earlier. ``whole`` [rows] 16 bytes each."""
    rows = _shared(whole)
    some = whole[rows]
    order = np.lexsort(_halves(some))
    found = np.zeros(len(whole), np.bool_)
    found[rows[order[1:]]] = _like_the_one_before(some, order)
    return found


def conflicting(asked: NDArray[np.void], whole: NDArray[np.void]) -> int:
    """Number of texts that stand with more than one answer."""
    rows = _shared(asked)
    asked, whole = asked[rows], whole[rows]
    order = np.lexsort((*_halves(whole), *_halves(asked)))
    same_text = _like_the_one_before(asked, order)
    group = np.cumsum(~same_text)
    return len(np.unique(group[same_text & ~_like_the_one_before(whole, order)]))


def leaking(digests: NDArray[np.void], parts: NDArray[np.int8]) -> NDArray[np.bool_]:
    """True for every training row whose text is also held out. Dropped rows have negative parts."""
    first, _ = _halves(digests)
    candidates = (parts == TRAIN) & np.isin(first, first[parts > TRAIN])
    held_out = set(digests[(parts > TRAIN) & np.isin(first, first[candidates])].tolist())
    found = np.zeros(len(parts), np.bool_)
    for row in np.flatnonzero(candidates):
        found[row] = digests[row].item() in held_out
    return found
