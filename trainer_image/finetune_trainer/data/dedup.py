"""Which rows are dropped as duplicates, and which because they leak into a held-out set. Pure.

Rows are compared by a digest of their exact text. A training row with the text and class of an
earlier one is a duplicate. A training row with the text of a held-out row, whatever its class, is
leakage: the comparison of base and tuned model would reward memory.
"""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.split import TRAIN


def repeated(digests: NDArray[np.void], labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """True for every row whose text and label stood earlier. ``digests`` [rows] 16 bytes each."""
    seen: set[tuple[bytes, int]] = set()
    found = np.zeros(len(labels), np.bool_)
    for row, key in enumerate(zip(digests.tolist(), labels.tolist(), strict=True)):
        found[row] = key in seen
        seen.add(key)
    return found


def conflicting(digests: NDArray[np.void], labels: NDArray[np.int32]) -> int:
    """Number of texts that stand with more than one class."""
    first: dict[bytes, int] = {}
    return len(
        {
            text
            for text, label in zip(digests.tolist(), labels.tolist(), strict=True)
            if first.setdefault(text, label) != label
        }
    )


def leaking(digests: NDArray[np.void], parts: NDArray[np.int8]) -> NDArray[np.bool_]:
    """True for every training row whose text is also held out. Dropped rows have negative parts."""
    held_out = set(digests[parts > TRAIN].tolist())
    found = np.zeros(len(parts), np.bool_)
    for row in np.flatnonzero(parts == TRAIN):
        found[row] = digests[row].item() in held_out
    return found
