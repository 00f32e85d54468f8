"""The linear probe of a tagger: fitted on the features of every labelled token."""

from typing import Any

import numpy as np
import torch

from finetune_trainer import zero
from finetune_trainer.evaluate import classes, probe
from finetune_trainer.evaluate.baseline import Arrays
from finetune_trainer.evaluate.forward import Rows, forward_tokens, without_labels
from finetune_trainer.model.load import Loaded
from finetune_trainer.session import Session


def measure(
    session: Session, loaded: Loaded, parts: dict[str, Rows]
) -> tuple[Arrays, dict[str, Any]]:
    """What ``probe.measure`` returns, for labelled tokens: ``predicted`` holds the test rows' one
    after the other. There is one view, the head's input."""
    seed = session.job.spec.training.seed
    train = _some_tokens(parts["train"], seed)
    has_bias = loaded.model.get_submodule(loaded.head).bias is not None
    with (
        zero.for_passes(session, loaded.model) as model,
        probe.input_of(model.get_submodule(loaded.head)) as caught,
    ):

        def take(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            model(**without_labels(batch))
            return caught.pop()

        views = {
            name: np.concatenate(forward_tokens(model, rows, session, take, may_stop=True))
            for name, rows in (("train", train), ("test", parts["test"]))
        }
    if not session.gang.is_main:
        return {}, {}
    labels, truth = (np.concatenate(rows.token_labels) for rows in (train, parts["test"]))
    made = probe.fit(
        views["train"], labels, classes=loaded.model.config.num_labels,
        intercept=has_bias, seed=seed, beat=session.beat,
    )  # fmt: skip
    predicted = made.predict(views["test"])
    arrays = {"weight": made.weight, "bias": made.bias, "predicted": predicted}
    return arrays, {"accuracy": {"head": classes.accuracy(truth, predicted)}, "better": "head"}


def _some_tokens(rows: Rows, seed: int) -> Rows:
    """As many rows, drawn, as hold at most ``probe.MAX_ROWS`` labelled tokens."""
    order = np.random.default_rng([seed, 4]).permutation(len(rows))
    drawn = rows.some(order[: probe.MAX_ROWS])
    tokens = np.cumsum([len(labels) for labels in drawn.token_labels])
    fitting = max(1, int((tokens <= probe.MAX_ROWS).sum()))
    return rows.some(np.sort(order[:fitting]))
