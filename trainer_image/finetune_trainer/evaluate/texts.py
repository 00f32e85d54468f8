"""Metrics of plain texts: loss a token, and perplexity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Pair

Losses = NDArray[np.float32]
"""Summed loss and number of tokens of each row [rows, 2]."""


def compare(base: Losses, tuned: Losses, *, seed: int) -> Comparison:
    """Loss a token and perplexity, the lower the better; a row is won by the smaller loss."""

    def loss(rows: Any) -> Pair:
        return _a_token(base[rows]), _a_token(tuned[rows])

    def perplexity(rows: Any) -> Pair:
        before, after = loss(rows)
        return float(np.exp(before)), float(np.exp(after))

    right = [-each[:, 0].astype(float) / np.maximum(each[:, 1], 1) for each in (base, tuned)]
    return comparing.compare({"loss": loss, "perplexity": perplexity}, *right, seed=seed)


def _a_token(losses: Losses) -> float:
    total, tokens = losses.astype(float).sum(axis=0)
    return float(total / tokens)
