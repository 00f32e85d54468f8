"""Metrics of classes: accuracy and macro F1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Pair

Classes = NDArray[np.int64]


def accuracy(truth: Classes, predicted: Classes) -> float:
    """Share of rows with the right class."""
    return float((truth == predicted).mean())


def compare(truth: Classes, base: Classes, tuned: Classes, *, seed: int) -> Comparison:
    """Accuracy and macro F1 of two predictions of the same rows."""
    base_right, tuned_right = (base == truth).astype(float), (tuned == truth).astype(float)

    def macro(rows: Any) -> Pair:
        drawn = truth[rows]
        return macro_f1(drawn, base[rows]), macro_f1(drawn, tuned[rows])

    metrics = {"accuracy": comparing.mean_of(base_right, tuned_right), "macro_f1": macro}
    return comparing.compare(metrics, base_right, tuned_right, seed=seed)


def macro_f1(truth: Classes, predicted: Classes) -> float:
    """F1 averaged over classes, each counting the same, as scikit-learn gives it.

    From three counts a class, a hundred times faster than there: the interval takes thousands of
    draws. Classes that stand in neither array do not count.
    """
    classes = int(max(truth.max(), predicted.max())) + 1
    right = np.bincount(truth[truth == predicted], minlength=classes)
    both = np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes)
    present = both > 0
    return float((2 * right[present] / both[present]).mean())
