"""Base against tuned on the same rows: scores, and how sure the difference is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune_api.progress import EvaluationResult

CONFIDENCE = 0.95
RESAMPLES = 1000

Scores = NDArray[np.float64]
Pair = tuple[float, float]
Metric = Callable[[NDArray[np.int64]], Pair]
"""Scores of base and tuned model on the rows of these numbers; a number may stand twice."""


@dataclass(frozen=True)
class Comparison:
    """Results by metric, and on how many rows tuned is right where base is wrong (``wins``),
    both are the same (``ties``), and the reverse (``losses``)."""

    results: list[EvaluationResult]
    wins: int
    ties: int
    losses: int


def mean_of(base: Scores, tuned: Scores) -> Metric:
    """The metric that is the mean of one score a row [rows]."""
    return lambda rows: (float(base[rows].mean()), float(tuned[rows].mean()))


def compare(
    metrics: Mapping[str, Metric], base_right: Scores, tuned_right: Scores, *, seed: int
) -> Comparison:
    """All metrics with the bootstrap interval of the paired difference tuned minus base.

    ``base_right`` and ``tuned_right`` [rows] say how right each answer is: they decide who wins a
    row.
    """
    count = len(base_right)
    every = np.arange(count)
    results = []
    for name, metric in metrics.items():
        (base, tuned), (low, high) = metric(every), _interval(metric, count, seed)
        results.append(
            EvaluationResult(
                metric=name, base=f"{base:.4f}", tuned=f"{tuned:.4f}",
                interval=f"{low:+.4f} to {high:+.4f}", rows=count,
            )
        )  # fmt: skip
    wins, losses = int((tuned_right > base_right).sum()), int((tuned_right < base_right).sum())
    return Comparison(results, wins, count - wins - losses, losses)


def _interval(metric: Metric, count: int, seed: int) -> Pair:
    """Percentile interval over rows drawn with replacement, base and tuned on the same draw."""
    from scipy.stats import bootstrap

    def difference(rows: NDArray[np.int64]) -> float:
        base, tuned = metric(rows)
        return tuned - base

    if count < 2:
        only = difference(np.arange(count))
        return only, only
    interval = bootstrap(
        (np.arange(count),), difference, n_resamples=RESAMPLES, vectorized=False,
        confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)
