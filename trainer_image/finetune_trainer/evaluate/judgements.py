"""Metrics of judged answers: how well likelihoods tell the good from the bad."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Metric, Pair, Scores
from finetune_trainer.evaluate.preferences import Likelihoods, preferred

Judgements = NDArray[np.bool_]


def compare(good: Judgements, base: Likelihoods, tuned: Likelihoods, *, seed: int) -> Comparison:
    """``reward_auroc`` ranks answers by what they gained over the base, which itself gains nothing
    and gets one half; ``preference_auroc`` by their likelihood a token.

    A row is right when a good answer gained, or a bad one lost.
    """
    gained = (tuned[:, 0] - base[:, 0]).astype(float)
    metrics = {
        "reward_auroc": _metric(good, np.zeros(len(good)), gained),
        "preference_auroc": _metric(good, _a_token(base), _a_token(tuned)),
    }
    right = preferred(np.where(good, gained, -gained))
    return comparing.compare(metrics, np.full(len(good), 0.5), right, seed=seed)


def _metric(good: Judgements, base: Scores, tuned: Scores) -> Metric:
    def of(rows: Any) -> Pair:
        return auroc(good[rows], base[rows]), auroc(good[rows], tuned[rows])

    return of


def auroc(good: Judgements, scores: Scores) -> float:
    """The chance that a good answer is scored above a bad one (Mann and Whitney's U by ranks: a
    bootstrap asks thousands of times); one half where there are only good ones, or only bad."""
    from scipy.stats import rankdata

    above, below = int(good.sum()), int((~good).sum())
    if not above or not below:
        return 0.5
    return float((rankdata(scores)[good].sum() - above * (above + 1) / 2) / (above * below))


def _a_token(rows: Likelihoods) -> Scores:
    return (rows[:, 0] / np.maximum(rows[:, 1], 1)).astype(float)
