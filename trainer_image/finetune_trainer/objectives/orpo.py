"""Odds-ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691).

Learns the chosen answer and, by their odds, to prefer it to the rejected one; needs no base to
compare with.
"""

from typing import Any

import torch
from torch.nn import functional

from finetune_trainer.evaluate import preferences
from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.evaluate.preferences import Likelihoods
from finetune_trainer.objectives.preference import Preference, likelihoods

LEAST = 1e-6
"""Keeps the odds of an answer that is certain finite."""


class ORPO(Preference):
    """Both terms are means over an answer's tokens, row by row: a long answer counts as much as a
    short one, and the loss does not depend on which rows share a micro-batch."""

    def row_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The chosen answer's loss a token - β × log σ(log of the odds ratio)."""
        found = likelihoods(model, batch)
        chosen, rejected = found[:, 0] / found[:, 1], found[:, 2] / found[:, 3].clamp(min=1)
        ratio = _log_odds(chosen) - _log_odds(rejected)
        return -chosen - self.beta * functional.logsigmoid(ratio)

    def compare(self, base: Likelihoods, tuned: Likelihoods) -> Comparison:
        """By the likelihoods a token."""
        seed = self.session.job.spec.training.seed
        return preferences.compare(base, tuned, seed=seed, a_token=True, gains=False)


def _log_odds(log_likelihood: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) from log p."""
    bounded = log_likelihood.clamp(max=-LEAST)
    return bounded - torch.log(-torch.expm1(bounded))
