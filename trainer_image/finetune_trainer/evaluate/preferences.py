"""Metrics of preferences: how often the chosen answer is the likelier one."""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Scores

Likelihoods = NDArray[np.float32]
"""Log-likelihood and number of tokens of each row's chosen answer, then of its rejected one
[rows, 4]."""


def compare(
    base: Likelihoods, tuned: Likelihoods, *, seed: int, a_token: bool, gains: bool
) -> Comparison:
    """``preference_accuracy``: the share of rows whose chosen answer is the likelier, as a whole or
    by the mean ``a_token``. With ``gains`` also ``reward_accuracy``: the share whose chosen answer
    gained more over the base than the rejected one, where the base itself gains nothing and gets
    one half."""
    base_right, tuned_right = (preferred(margins(each, a_token)) for each in (base, tuned))
    metrics = {"preference_accuracy": comparing.mean_of(base_right, tuned_right)}
    if gains:
        gained = preferred(margins(tuned, a_token=False) - margins(base, a_token=False))
        metrics["reward_accuracy"] = comparing.mean_of(np.full(len(base), 0.5), gained)
    return comparing.compare(metrics, base_right, tuned_right, seed=seed)


def compare_margins(base: Scores, tuned: Scores, *, seed: int) -> Comparison:
    """``pairwise_accuracy``: the share of rows whose chosen answer has the larger reward. By how
    much larger it is [rows]."""
    base_right, tuned_right = preferred(base), preferred(tuned)
    metrics = {"pairwise_accuracy": comparing.mean_of(base_right, tuned_right)}
    return comparing.compare(metrics, base_right, tuned_right, seed=seed)


def margins(rows: Likelihoods, a_token: bool) -> Scores:
    """By how much the chosen answer's log-likelihood is larger [rows]."""
    chosen, chosen_tokens, rejected, rejected_tokens = rows.astype(float).T
    if a_token:
        return chosen / np.maximum(chosen_tokens, 1) - rejected / np.maximum(rejected_tokens, 1)
    return chosen - rejected


def preferred(margin: Scores) -> Scores:
    """1.0 where the margin is positive, one half where there is none [rows]."""
    return (np.sign(margin) + 1) / 2
