"""What the labels of texts are, and all that follows: loss, probe, predictions, comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from finetune_trainer.evaluate import classes, f1, label_probe, probe, quantities
from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.losses import classification_loss, labels_loss, number_bits, number_loss

VALUE = "value"
"""What the only output of an estimating model is called."""


@dataclass(frozen=True)
class Target:
    """One kind of labels. ``collate`` makes a batch's labels to what ``loss`` takes."""

    problem_type: str
    fitting: probe.Fitting
    loss: Callable[..., torch.Tensor]
    collate: Callable[[Any], torch.Tensor]
    compare: Callable[..., Comparison]


def of_prepared(folder: Path, labels: int) -> Target:
    """The kind of labels that prepared rows have. ``labels``: how many names there are."""
    import datasets

    kind = datasets.load_from_disk(str(folder / "train")).data.schema.field("labels").type
    if pa.types.is_floating(kind):
        return _numbers()
    return _any_labels(labels) if pa.types.is_list(kind) else _one_class()


def _one_class() -> Target:
    return Target(
        "single_label_classification", probe.CLASSES, classification_loss, torch.tensor,
        classes.compare,
    )  # fmt: skip


def _any_labels(count: int) -> Target:
    def held(rows: Any) -> NDArray[np.int64]:
        """1 where a row holds a label [rows, labels]."""
        table = np.zeros((len(rows), count), np.int64)
        for number, labels in enumerate(rows):
            table[number, labels] = 1
        return table

    def micro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
        return _counts(truth, predicted).micro(np.arange(len(truth)))

    def compare(
        truth: NDArray[np.int64], base: NDArray[np.int64], tuned: NDArray[np.int64], *, seed: int
    ) -> Comparison:
        return f1.compare(_counts(truth, base), _counts(truth, tuned), seed=seed)

    fitting = probe.Fitting(
        label_probe.fit_labels, lambda rows: held(rows.dataset["labels"]),
        lambda scores: (scores > 0).astype(np.int64), micro_f1, "micro_f1",
    )  # fmt: skip
    return Target(
        "multi_label_classification", fitting, labels_loss,
        lambda labels: torch.from_numpy(held(labels)), compare,
    )  # fmt: skip


def _counts(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> f1.Counts:
    return f1.Counts(truth * predicted, truth + predicted)


def _numbers() -> Target:
    fitting = probe.Fitting(
        label_probe.fit_numbers, lambda rows: np.asarray(rows.dataset["labels"], np.float64),
        lambda scores: scores[:, 0].astype(np.float64), quantities.r2, "r2",
    )  # fmt: skip
    return Target("regression", fitting, number_loss, number_bits, quantities.compare)
