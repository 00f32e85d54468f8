"""The linear probe: what the base model knows already, and where the tuned head starts.

Fitted on exactly the input of the head's last linear layer in eval mode, with the scaling folded
into its weights, so that the head with these weights *is* the probe (LP-FT, Kumar et al. 2022,
arXiv:2202.10054: fine-tuning from a probe does not distort features as a random head does).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer.evaluate import classes
from finetune_trainer.evaluate.baseline import Arrays
from finetune_trainer.evaluate.forward import Rows, forward, without_labels
from finetune_trainer.model.load import Loaded

if TYPE_CHECKING:
    from finetune_trainer.train import Session

STRENGTHS = (1e-4, 1e-3, 0.01, 0.1, 1.0)
"""Inverse L2 strengths that are tried; the validation rows choose."""
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


def measure(
    session: "Session", loaded: Loaded, parts: dict[str, Rows]
) -> tuple[Arrays, dict[str, Any]]:
    """Features of all ranks, a probe by rank 0; the base's score is the better of two views.

    Returns ``weight``, ``bias`` and the test rows' ``predicted`` classes, and the scores; empty on
    other ranks.
    """
    train = parts["train"]
    if len(train) > MAX_ROWS:
        rng = np.random.default_rng([session.job.spec.training.seed, 4])
        train = train.some(np.sort(rng.permutation(len(train))[:MAX_ROWS]))
    used = {"train": train, "validation": parts["validation"], "test": parts["test"]}
    views = {
        name: features(loaded.model, loaded.head, rows, session) for name, rows in used.items()
    }
    if not session.gang.is_main:
        return {}, {}
    labels = {name: rows.labels for name, rows in used.items()}
    has_bias = loaded.model.get_submodule(loaded.head).bias is not None
    scores, probes, predicted = {}, {}, {}
    for number, view in enumerate(("head", "mean")):
        probes[view] = fit(
            views["train"][number], labels["train"],
            views["validation"][number], labels["validation"],
            classes=loaded.model.config.num_labels, intercept=has_bias or view == "mean",
            beat=session.beat,
        )  # fmt: skip
        predicted[view] = probes[view].predict(views["test"][number])
        scores[view] = classes.accuracy(labels["test"], predicted[view])
    better = max(scores, key=lambda view: scores[view])
    arrays = {
        "weight": probes["head"].weight, "bias": probes["head"].bias,
        "predicted": predicted[better],
    }  # fmt: skip
    return arrays, {"accuracy": scores, "better": better}


def features(
    model: Any, head: str, rows: Rows, session: "Session"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two views of every row: the head's input, and the mean of the last hidden states."""
    caught: dict[str, torch.Tensor] = {}

    def hook(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        caught["input"] = inputs[0]

    def take(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs = model(**without_labels(batch))
        mask = batch["attention_mask"]
        before_head = caught.pop("input")
        if before_head.dim() == 3:
            # Decoders apply the head to every position and take the last real token.
            last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1)
            before_head = before_head[torch.arange(len(last), device=last.device), last]
        hidden = outputs["hidden_states"][-1]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.cat([before_head.float(), mean.float()], dim=1)

    module = model.get_submodule(head)
    wanted = model.config.output_hidden_states
    model.config.output_hidden_states = True
    handle = module.register_forward_pre_hook(hook)
    try:
        both = forward(model, rows, session, take, may_stop=True)
    finally:
        handle.remove()
        model.config.output_hidden_states = wanted
    width = module.in_features
    return both[:, :width], both[:, width:]


def fit(
    train: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    validation: NDArray[np.float32],
    validation_labels: NDArray[np.int64],
    *,
    classes: int,
    intercept: bool = True,
    beat: Callable[[], None] = lambda: None,
) -> Probe:
    """The probe whose regularisation suits the validation rows best (log loss)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    wide = train.astype(np.float64)
    mean = wide.mean(axis=0) if intercept else np.zeros(wide.shape[1])
    scale = wide.std(axis=0)
    # A feature that hardly varies must not be blown up: its weight would be huge in the head.
    scale = np.maximum(scale, SCALE_FLOOR * np.median(scale)) + 1e-12
    scaled = (wide - mean) / scale
    best: tuple[float, Probe] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=500, fit_intercept=intercept)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, train_labels)
        beat()
        probe = _folded(model, mean, scale, classes)
        loss = _log_loss(probe.scores(validation), validation_labels)
        if best is None or loss < best[0]:
            best = (loss, probe)
    assert best is not None
    return best[1]


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


def into_head(model: Any, head: str, probe: Probe) -> None:
    """Copy the probe into the head, before adapters or DeepSpeed wrap the model."""
    module = model.get_submodule(head)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(probe.weight))
        if module.bias is not None:
            module.bias.copy_(torch.from_numpy(probe.bias))
