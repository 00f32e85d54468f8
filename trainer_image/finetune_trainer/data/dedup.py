"""Which rows are dropped as duplicates, and which because they leak into a held-out set. Pure.

Rows are compared by a digest of their exact text. A training row with the text and class of an
earlier one is a duplicate. A training row with the text of a held-out row, whatever its class, is
leakage: the comparison of base and tuned model would reward memory.
"""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.split import TRAIN


def _halves(digests: NDArray[np.void]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    pairs = digests.view(np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _sorted_equal(
    digests: NDArray[np.void], labels: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows sorted by text, label and position; for each but the first: does it have the text, and
    the label, of the one before it? A few numbers a row, so millions of rows fit into memory."""
    first, second = _halves(digests)
    order = np.lexsort((labels, second, first))
    same_text = (np.diff(first[order]) == 0) & (np.diff(second[order]) == 0)
    return order, same_text, np.diff(labels[order]) == 0


def repeated(digests: NDArray[np.void], labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """True for every row whose text and label stood earlier. ``digests`` [rows] 16 bytes each."""
    order, same_text, same_label = _sorted_equal(digests, labels)
    found = np.zeros(len(labels), np.bool_)
    found[order[1:]] = same_text & same_label
    return found


def conflicting(digests: NDArray[np.void], labels: NDArray[np.int32]) -> int:
    """Number of texts that stand with more than one class."""
    _, same_text, same_label = _sorted_equal(digests, labels)
    group = np.cumsum(~same_text)
    return len(np.unique(group[same_text & ~same_label]))


def leaking(digests: NDArray[np.void], parts: NDArray[np.int8]) -> NDArray[np.bool_]:
    """True for every training row whose text is also held out. Dropped rows have negative parts."""
    first, _ = _halves(digests)
    candidates = (parts == TRAIN) & np.isin(first, first[parts > TRAIN])
    held_out = set(digests[(parts > TRAIN) & np.isin(first, first[candidates])].tolist())
    found = np.zeros(len(parts), np.bool_)
    for row in np.flatnonzero(candidates):
        found[row] = digests[row].item() in held_out
    return found
