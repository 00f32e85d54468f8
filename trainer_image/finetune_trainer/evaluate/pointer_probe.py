"""The linear probe of a model that points at answers: two weights a feature, one for where answers
start and one for where they end.

A pointer chooses one token of its window, so the probe is a conditional logit (McFadden 1974) on
the frozen features of tokens. It is fitted on the right token and others drawn from its window,
which gives the same weights as all of them would (McFadden 1978), at a tenth of the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer import zero
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.evaluate import probe
from finetune_trainer.evaluate.forward import Batch, Rows, forward_tokens, without_labels
from finetune_trainer.model.load import Loaded
from finetune_trainer.session import Session

DRAWN = 31
"""Tokens of a window that the right one is told from."""
MAX_WINDOWS = 2_000
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4)
"""Strengths of the L2 penalty on weights of scaled features, from the strongest; weaker ones are
tried while the held-out loss falls."""
HELD_OUT = 5
ITERATIONS = 200


@dataclass(frozen=True)
class Choices:
    """Of every window: features of the tokens to choose from [windows, tokens, features], which
    are there, and the number of the one that starts and of the one that ends the answer."""

    features: torch.Tensor
    there: torch.Tensor
    right: torch.Tensor

    def some(self, chosen: torch.Tensor) -> "Choices":
        """A subset of the windows."""
        return Choices(self.features[chosen], self.there[chosen], self.right[chosen])


def measure(session: Session, loaded: Loaded, train: Rows) -> probe.Probe | None:
    """The probe, on rank 0; all ranks compute its features together."""
    seed = session.job.spec.training.seed
    order = np.random.default_rng([seed, 4]).permutation(len(train))[:MAX_WINDOWS]
    drawn = train.some(np.sort(order))
    rows = Rows(drawn.dataset, Thinned(drawn.collate, seed), drawn.lengths)
    with (
        zero.for_passes(session, loaded.model) as model,
        probe.input_of(model.get_submodule(loaded.head)) as caught,
    ):

        def take(model: Any, batch: Batch) -> torch.Tensor:
            model(**without_labels(batch))
            seen = caught.pop().float()
            return torch.cat([seen, batch["labels"][..., None].float()], dim=-1)

        found = forward_tokens(model, rows, session, take, may_stop=True)
    return fit(choices(found), seed=seed, beat=session.beat) if session.gang.is_main else None


class Thinned:
    """Batches in which most tokens cannot be chosen: all but the first, the right ones and some
    that are drawn, the same ones whenever the row is collated."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], Batch], seed: int) -> None:
        self.collate, self.seed = collate, seed

    def __call__(self, rows: list[dict[str, Any]]) -> Batch:
        """The batch."""
        batch = self.collate(rows)
        for row, labels in zip(rows, batch["labels"], strict=True):
            wrong = torch.nonzero(labels[1:] == 0).flatten() + 1
            rng = np.random.default_rng([self.seed, 6, row["question"], row["starts"][row["last"]]])
            labels[wrong[rng.permutation(len(wrong))[DRAWN:]]] = IGNORED
        return batch


def choices(found: list[NDArray[np.float32]]) -> Choices:
    """Features of tokens with their labels in the last column, window by window, as choices."""
    most, width = max(map(len, found)), found[0].shape[1] - 1
    features = torch.zeros(len(found), most, width)
    there = torch.zeros(len(found), most, dtype=torch.bool)
    right = torch.zeros(len(found), 2, dtype=torch.int64)
    for number, rows in enumerate(found):
        labels = rows[:, -1].astype(np.int64)
        features[number, : len(rows)] = torch.from_numpy(rows[:, :-1])
        there[number, : len(rows)] = True
        right[number] = torch.tensor([int((labels & 1).argmax()), int((labels & 2).argmax())])
    return Choices(features, there, right)


def fit(given: Choices, *, seed: int, beat: Callable[[], None] = lambda: None) -> probe.Probe:
    """The probe, with the penalty that windows which it was not fitted on like best."""
    tokens = given.features[given.there].double().numpy()
    mean, scale = probe.scaling(tokens, intercept=True)
    features = (given.features - torch.from_numpy(mean).float()) / torch.from_numpy(scale).float()
    scaled = Choices(features, given.there, given.right)
    order = torch.from_numpy(np.random.default_rng([seed, 7]).permutation(len(features)))
    count = len(order) // HELD_OUT
    penalty = PENALTIES[len(PENALTIES) // 2]
    if count:
        held, learnt = scaled.some(order[:count]), scaled.some(order[count:])
        least = float("inf")
        for tried in PENALTIES:
            loss = float(_loss(_weights(learnt, tried, beat), held))
            if loss >= least:
                break
            least, penalty = loss, tried
    weight = _weights(scaled, penalty, beat).double().numpy() / scale
    return probe.Probe(weight.astype(np.float32), (-weight @ mean).astype(np.float32))


def _weights(given: Choices, penalty: float, beat: Callable[[], None]) -> torch.Tensor:
    """Weights [2, features] of the least loss with the penalty, which is convex."""
    weight = torch.zeros(2, given.features.shape[2], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=ITERATIONS, line_search_fn="strong_wolfe", tolerance_grad=1e-5
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = _loss(weight, given) + penalty * weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    beat()
    return weight.detach()


def _loss(weight: torch.Tensor, given: Choices) -> torch.Tensor:
    """Mean of what is lost at start and end of each window."""
    scores = (given.features @ weight.T).masked_fill(~given.there[..., None], float("-inf"))
    return torch.nn.functional.cross_entropy(scores, given.right)
