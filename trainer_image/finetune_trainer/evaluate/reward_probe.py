"""The linear probe of preferences: a reward that is linear in the base's frozen features.

Fitted on differences, the chosen answer's features less the rejected one's: the chance that one
answer is better than another is then a logistic function of the difference of their rewards
(Bradley-Terry), which knows no intercept.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer import zero
from finetune_trainer.evaluate import probe
from finetune_trainer.evaluate.baseline import Arrays
from finetune_trainer.evaluate.forward import Rows
from finetune_trainer.evaluate.preferences import preferred
from finetune_trainer.model.load import Loaded
from finetune_trainer.session import Session

Sides = dict[str, tuple[Rows, Rows]]
"""Chosen and rejected answers of each part."""


def measure(session: Session, loaded: Loaded, sides: Sides) -> tuple[Arrays, dict[str, Any]]:
    """Features of all ranks, a probe by rank 0; the base's score is the better of two views.

    Returns the head's ``weight`` and the test rows' ``margins``, and the scores; empty on other
    ranks.
    """
    seed, (chosen, rejected) = session.job.spec.training.seed, sides["train"]
    if len(chosen) > probe.MAX_ROWS:
        rng = np.random.default_rng([seed, 4])
        some = np.sort(rng.permutation(len(chosen))[: probe.MAX_ROWS])
        chosen, rejected = chosen.some(some), rejected.some(some)
    used = {"train": (chosen, rejected), "test": sides["test"]}
    with zero.for_passes(session, loaded.model) as model:
        views = {
            part: [probe.features(model, loaded.head, rows, session) for rows in both]
            for part, both in used.items()
        }
    if not session.gang.is_main:
        return {}, {}
    weights, margins, scores = {}, {}, {}
    for number, view in enumerate(("head", "mean")):
        train, test = (views[part][0][number] - views[part][1][number] for part in used)
        weights[view] = fit(train, seed, session.beat)
        margins[view] = test @ weights[view]
        scores[view] = float(preferred(margins[view]).mean())
    better = max(scores, key=lambda view: scores[view])
    arrays = {"weight": weights["head"][None], "margins": margins[better]}
    return arrays, {"pairwise_accuracy": scores, "better": better}


def fit(
    differences: NDArray[np.float32], seed: int, beat: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """The weights [features] under which ``differences`` [rows, features] are positive. Which side
    of a pair comes first is drawn, so that there are two classes."""
    first = np.random.default_rng([seed, 7]).permutation(len(differences)) % 2
    rows = differences * (2 * first[:, None] - 1).astype(np.float32)
    found = probe.fit(rows, first, classes=2, intercept=False, seed=seed, beat=beat)
    weights: NDArray[np.float32] = found.weight[1] - found.weight[0]
    return weights
