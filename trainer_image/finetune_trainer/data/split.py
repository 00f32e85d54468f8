"""Which rows are held out: by seed, stratified by class. Pure.

Every class keeps at least one row for training. Shares are met by the largest-remainder method,
so a held-out set has exactly its size and each class its proportion within one row.
"""

import numpy as np
from numpy.typing import NDArray

from finetune_api.errors import DataError

TRAIN, VALIDATION, TEST = 0, 1, 2
GENERAL = 3
"""Files of the general set: no part of what is split."""


def held_out_size(rows: int, classes: int, fraction: float) -> int:
    """Rows of a held-out set: its share, and at least one a class where there is room."""
    return max(round(rows * fraction), classes, 2)


def split(labels: NDArray[np.int32], fractions: dict[int, float], seed: int) -> NDArray[np.int8]:
    """Assign each row to TRAIN, VALIDATION or TEST.

    ``labels`` [rows] are class numbers, ``fractions`` the share of each held-out set that has no
    file of its own. The same labels, shares and seed give the same split everywhere.
    """
    rows, classes = len(labels), int(labels.max()) + 1
    assigned = np.full(rows, TRAIN, np.int8)
    sizes = {part: held_out_size(rows, classes, share) for part, share in fractions.items()}
    if rows - sum(sizes.values()) < max(
        classes, rows // 2 if sum(fractions.values()) <= 0.5 else 1
    ):
        raise DataError(
            f"{rows} rows of {classes} classes are too few to hold out "
            f"{' and '.join(str(size) for size in sizes.values())} rows",
            "add rows, or name validation and test files of their own",
        )
    counts = np.bincount(labels, minlength=classes)
    order = np.random.default_rng([seed, 0]).permutation(rows)
    by_class = [order[labels[order] == number] for number in range(classes)]
    taken = np.zeros(classes, np.int64)
    for part in sorted(sizes, reverse=True):
        quota = _quotas(counts, sizes[part], room=counts - taken - 1)
        for number in range(classes):
            start = taken[number]
            assigned[by_class[number][start : start + quota[number]]] = part
        taken += quota
    return assigned


def _quotas(counts: NDArray[np.int64], size: int, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows to take of each class: proportional to its count, never more than its room."""
    exact = counts * size / counts.sum()
    quota = np.minimum(np.floor(exact).astype(np.int64), np.maximum(room, 0))
    # Largest remainder first, then the class with more rows, then the smaller number.
    ranking = sorted(range(len(counts)), key=lambda c: (quota[c] - exact[c], -counts[c], c))
    while quota.sum() < size:
        before = quota.sum()
        for number in ranking:
            if quota.sum() < size and quota[number] < room[number]:
                quota[number] += 1
        if quota.sum() == before:
            break
    return quota
