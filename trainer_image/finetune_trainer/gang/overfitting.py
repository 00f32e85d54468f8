"""How far training and validation loss have come apart, read from the training curve."""

import statistics
from collections.abc import Sequence
from typing import Any

from finetune_api.progress import SeriesPoint


def overfitting(series: Sequence[SeriesPoint]) -> dict[str, Any] | None:
    """Validation loss less training loss at the best validation and at the last, and the step after
    which the gap opened: training went on to fall while validation rose. None without two
    validations.

    The training loss of a validation is the mean over the steps since the one before.
    """
    pairs = _validations(series)
    if len(pairs) < 2:
        return None
    best, last = min(pairs, key=lambda pair: pair[2]), pairs[-1]
    opened = last[2] > best[2] and last[1] < best[1]
    return {
        "bestStep": best[0],
        "gapAtBest": best[2] - best[1],
        "gapAtEnd": last[2] - last[1],
        "openedAfterStep": best[0] if opened else None,
    }


def _validations(series: Sequence[SeriesPoint]) -> list[tuple[int, float, float]]:
    """Step, training loss and validation loss of each validation."""
    found: list[tuple[int, float, float]] = []
    since: list[float] = []
    for point in series:
        if point.loss is not None:
            since.append(float(point.loss))
        if point.eval_loss is not None and since:
            found.append((point.step, statistics.fmean(since), float(point.eval_loss)))
            since = []
    return found
