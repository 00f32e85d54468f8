"""Linear probes of texts that have any number of labels, or a number."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import probe

CHOOSING_LABELS = 5
"""Labels that choose the strength at most."""
ALPHAS = tuple(10.0**power for power in range(-2, 7))
"""L2 strengths of a regression, times the rows."""
SURE = 10.0
"""Score of a label that all training rows have, or none."""


def fit_labels(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: int,
    intercept: bool = True,
    seed: int,
    beat: Callable[[], None] = lambda: None,
) -> probe.Probe:
    """One probe a label against all rows without it; ``labels`` [rows, labels] are 0 or 1. The
    strength is one for all, chosen on the labels that say most."""
    chosen = np.random.default_rng([seed, 5]).permutation(len(labels))[: probe.CHOOSING_ROWS]
    counts = labels[chosen].sum(axis=0)
    lesser = np.minimum(counts, len(chosen) - counts)
    choosing = [
        label for label in np.argsort(-lesser)[:CHOOSING_LABELS] if lesser[label] >= probe.FOLDS
    ]
    strengths = [
        probe.best_strength(rows[chosen], labels[chosen, label], 2, intercept, seed, beat)
        for label in choosing
    ] or [probe.STRENGTHS[len(probe.STRENGTHS) // 2]]  # fmt: skip
    strength = sorted(strengths)[len(strengths) // 2]
    weight, bias = np.zeros((classes, rows.shape[1]), np.float32), np.zeros(classes, np.float32)
    for label in range(classes):
        share = labels[:, label].mean()
        if 0 < share < 1:
            found = probe.fit_at(rows, labels[:, label], strength, 2, intercept, beat)
            weight[label], bias[label] = np.diff(found.weight, axis=0)[0], np.diff(found.bias)[0]
        else:
            bias[label] = SURE if share else -SURE
    return probe.Probe(weight, bias)


def fit_numbers(
    rows: NDArray[np.float32],
    numbers: NDArray[np.float64],
    *,
    classes: int,
    intercept: bool = True,
    seed: int,
    beat: Callable[[], None] = lambda: None,
) -> probe.Probe:
    """Ridge regression, as strong as leaving out one row at a time finds best."""
    from sklearn.linear_model import RidgeCV

    wide = rows.astype(np.float64)
    mean, scale = probe.scaling(wide, intercept)
    model = RidgeCV(alphas=ALPHAS, fit_intercept=intercept).fit((wide - mean) / scale, numbers)
    beat()
    weight = model.coef_ / scale
    bias = model.intercept_ - weight @ mean
    return probe.Probe(weight[None].astype(np.float32), np.array([bias], np.float32))
