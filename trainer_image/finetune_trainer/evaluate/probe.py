"""The linear probe: what the base model knows already, and where the tuned head starts.

Fitted on exactly the input of the head's last linear layer in eval mode, with the scaling folded
into its weights, so that the head with these weights *is* the probe (LP-FT, Kumar et al. 2022,
arXiv:2202.10054: fine-tuning from a probe does not distort features as a random head does).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer import zero
from finetune_trainer.evaluate import classes
from finetune_trainer.evaluate.baseline import Arrays
from finetune_trainer.evaluate.forward import Rows, forward, without_labels
from finetune_trainer.model.load import Loaded
from finetune_trainer.session import Session

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse L2 strengths; the search starts in the middle and goes on while the loss falls."""
FOLDS = 5
CHOOSING_ROWS = 4_000
"""Training rows that choose the strength at most: several fits a strength."""
SCALE_FLOOR = 0.25
"""Least scale of a feature, as a share of the median."""
MAX_ROWS = 20_000
"""Training rows that a probe is fitted on at most; more change little and cost minutes."""


@dataclass(frozen=True)
class Probe:
    """A linear classifier: ``weight`` [classes, features], ``bias`` [classes]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class scores [rows, classes] of ``features`` [rows, features]."""
        return features @ self.weight.T + self.bias

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Class numbers [rows]."""
        return self.scores(features).argmax(axis=1)


@dataclass(frozen=True)
class Fitting:
    """What a probe is fitted to. ``predict`` makes scores to predictions, and ``quality`` says how
    good these are: the greater, the better."""

    fit: Callable[..., Probe]
    truth: Callable[[Rows], NDArray[Any]]
    predict: Callable[[NDArray[np.float32]], NDArray[Any]]
    quality: Callable[[NDArray[Any], NDArray[Any]], float]
    name: str


def measure(
    session: Session, loaded: Loaded, parts: dict[str, Rows], fitting: Fitting | None = None
) -> tuple[Arrays, dict[str, Any]]:
    """Features of all ranks, a probe by rank 0; the base's score is the better of two views. It is
    fitted to classes, if ``fitting`` says nothing else.

    Returns ``weight``, ``bias`` and the test rows' ``predicted`` classes, and the scores; empty on
    other ranks.
    """
    fitting = fitting or CLASSES
    train, seed = parts["train"], session.job.spec.training.seed
    if len(train) > MAX_ROWS:
        rng = np.random.default_rng([seed, 4])
        train = train.some(np.sort(rng.permutation(len(train))[:MAX_ROWS]))
    used = {"train": train, "test": parts["test"]}
    with zero.for_passes(session, loaded.model) as model:
        views = {name: features(model, loaded.head, rows, session) for name, rows in used.items()}
    if not session.gang.is_main:
        return {}, {}
    truth = {name: fitting.truth(rows) for name, rows in used.items()}
    has_bias = loaded.model.get_submodule(loaded.head).bias is not None
    scores, probes, predicted = {}, {}, {}
    for number, view in enumerate(("head", "mean")):
        probes[view] = fitting.fit(
            views["train"][number], truth["train"], classes=loaded.model.config.num_labels,
            intercept=has_bias or view == "mean", seed=seed, beat=session.beat,
        )  # fmt: skip
        predicted[view] = fitting.predict(probes[view].scores(views["test"][number]))
        scores[view] = fitting.quality(truth["test"], predicted[view])
    better = max(scores, key=lambda view: scores[view])
    arrays = {
        "weight": probes["head"].weight, "bias": probes["head"].bias,
        "predicted": predicted[better],
    }  # fmt: skip
    return arrays, {fitting.name: scores, "better": better}


def features(
    model: Any, head: str, rows: Rows, session: Session
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two views of every row: the head's input, and the mean of the last hidden states."""
    module = model.get_submodule(head)

    def take(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs = model(**without_labels(batch))
        mask = batch.get("attention_mask")
        before_head = caught.pop()
        if before_head.dim() == 3:
            # Decoders apply the head to every position and take the last token that is no padding.
            real = batch["input_ids"] != model.config.pad_token_id
            last = (real * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1)
            before_head = before_head[torch.arange(len(last), device=last.device), last]
        hidden = outputs["hidden_states"][-1]
        mean = mean_of(hidden, mask_of(model, hidden, mask))
        return torch.cat([before_head.float(), mean.float()], dim=1)

    wanted = model.config.output_hidden_states
    model.config.output_hidden_states = True
    try:
        with input_of(module) as caught:
            both = forward(model, rows, session, take, may_stop=True)
    finally:
        model.config.output_hidden_states = wanted
    width = module.in_features
    return both[:, :width], both[:, width:]


def mask_of(model: Any, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """Which positions of ``hidden`` are not padding. A model that listens has fewer of them than
    there are samples."""
    if mask is None or mask.shape[1] == hidden.shape[1]:
        return mask
    shorter: torch.Tensor = model._get_feature_vector_attention_mask(hidden.shape[1], mask)
    return shorter


def mean_of(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The mean [rows, features] of states at positions [rows, positions, features] that are not
    padding, or at all places of a picture [rows, features, height, width]."""
    if hidden.dim() == 4:
        return hidden.mean(dim=(2, 3))
    if mask is None:
        return hidden.mean(dim=1)
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


@contextmanager
def input_of(module: Any) -> Iterator[list[torch.Tensor]]:
    """What the module is given, pass by pass."""
    caught: list[torch.Tensor] = []

    def hook(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        caught.append(inputs[0])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield caught
    finally:
        handle.remove()


def fit(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    classes: int,
    intercept: bool = True,
    seed: int,
    beat: Callable[[], None] = lambda: None,
) -> Probe:
    """The probe of ``rows`` [rows, features], regularised as cross-validation finds best."""
    chosen = np.random.default_rng([seed, 5]).permutation(len(labels))[:CHOOSING_ROWS]
    strength = best_strength(rows[chosen], labels[chosen], classes, intercept, seed, beat)
    return fit_at(rows, labels, strength, classes, intercept, beat)


def best_strength(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    intercept: bool,
    seed: int,
    beat: Callable[[], None],
) -> float:
    """The strength with the least log loss on the rows that each fold holds out.

    Held-out validation rows are too few to tell neighbours apart; all training rows together are
    not.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, int(np.bincount(labels).max()))
    if folds < 2:
        return STRENGTHS[len(STRENGTHS) // 2]
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Classes with fewer rows than folds: some folds go without them.
        warnings.simplefilter("ignore", UserWarning)
        splits = list(splitter.split(rows, labels))

    @cache
    def loss(at: int) -> float:
        if not 0 <= at < len(STRENGTHS):
            return float("inf")
        total = 0.0
        for learn, hold in splits:
            probe = fit_at(rows[learn], labels[learn], STRENGTHS[at], classes, intercept, beat)
            total += _log_loss(probe.scores(rows[hold]), labels[hold]) * len(hold)
        return total

    at = len(STRENGTHS) // 2
    step = 1 if loss(at + 1) < loss(at) else -1
    while loss(at + step) < loss(at):
        at += step
    return STRENGTHS[at]


def fit_at(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    strength: float,
    classes: int,
    intercept: bool,
    beat: Callable[[], None],
) -> Probe:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    wide = rows.astype(np.float64)
    mean, scale = scaling(wide, intercept)
    model = LogisticRegression(C=strength, max_iter=500, fit_intercept=intercept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((wide - mean) / scale, labels)
    beat()
    return _folded(model, mean, scale, classes)


def scaling(
    wide: NDArray[np.float64], intercept: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is taken off every feature, and what it is divided by."""
    mean = wide.mean(axis=0) if intercept else np.zeros(wide.shape[1])
    scale = wide.std(axis=0)
    # A feature that hardly varies must not be blown up: its weight would be huge in the head.
    return mean, np.maximum(scale, SCALE_FLOOR * np.median(scale)) + 1e-12


def _folded(
    model: Any, mean: NDArray[np.float64], scale: NDArray[np.float64], classes: int
) -> Probe:
    """The fitted model as weights on unscaled features, one row a class."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:
        # Two classes share one set of weights; half for each gives the same probabilities.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.array([-0.5, 0.5]) * intercepts[0]
    weight = np.zeros((classes, coefficients.shape[1]))
    bias = np.full(classes, intercepts.min() - 10.0)
    weight[model.classes_] = coefficients / scale
    bias[model.classes_] = intercepts - (coefficients / scale) @ mean
    return Probe(weight.astype(np.float32), bias.astype(np.float32))


def _log_loss(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float(
        torch.nn.functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels))
    )


CLASSES = Fitting(
    fit,
    lambda rows: rows.labels,
    lambda scores: scores.argmax(axis=1),
    classes.accuracy,
    "accuracy",
)


def into_head(model: Any, head: str, probe: Probe) -> None:
    """Copy the probe into the head, before adapters or DeepSpeed wrap the model."""
    module = model.get_submodule(head)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(probe.weight))
        if module.bias is not None:
            module.bias.copy_(torch.from_numpy(probe.bias))
