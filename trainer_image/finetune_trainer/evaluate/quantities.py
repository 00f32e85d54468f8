"""Metrics of estimated numbers: R² and Spearman's correlation, which are better the greater, and
the mean absolute error, which is better the smaller."""

from collections.abc import Callable

import numpy as np

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Metric, Scores


def compare(truth: Scores, base: Scores, tuned: Scores, *, seed: int) -> Comparison:
    """Two estimates of the same rows [rows]. The closer one wins a row."""

    def both(measure: Callable[[Scores, Scores], float]) -> Metric:
        return lambda rows: (
            measure(truth[rows], base[rows]), measure(truth[rows], tuned[rows]),
        )  # fmt: skip

    base_off, tuned_off = np.abs(base - truth), np.abs(tuned - truth)
    metrics = {
        "r2": both(r2),
        "spearman": both(spearman),
        "mae": comparing.mean_of(base_off, tuned_off),
    }
    return comparing.compare(metrics, -base_off, -tuned_off, seed=seed)


def r2(truth: Scores, estimated: Scores) -> float:
    """Share of the variance that is explained; 0.0 where there is none to explain."""
    from sklearn.metrics import r2_score

    return float(r2_score(truth, estimated)) if np.ptp(truth) > 0 else 0.0


def spearman(truth: Scores, estimated: Scores) -> float:
    """Correlation of ranks; 0.0 where one of both is constant."""
    from scipy.stats import spearmanr

    if np.ptp(truth) == 0 or np.ptp(estimated) == 0:
        return 0.0
    return float(spearmanr(truth, estimated).statistic)
