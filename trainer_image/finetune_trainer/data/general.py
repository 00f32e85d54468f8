"""The general set: rows that tell what a model has lost. They are read as held-out rows are, are
never trained on, and stand in a folder of their own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune_api.dataset import Dataset, DatasetFormat
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data import dedup
from finetune_trainer.data.checks import DROPPED
from finetune_trainer.data.gather import Gathered, Gatherer
from finetune_trainer.data.split import TEST, TRAIN


@dataclass(frozen=True)
class General:
    """Sound rows, which of them are kept (TEST, else DROPPED), and how many were dropped by
    reason."""

    gathered: Gathered
    parts: NDArray[np.int8]
    dropped: dict[str, int]


def gatherer(
    beside: Gatherer, dataset: Dataset, layouts: tuple[Layout, ...], folder: Path
) -> Gatherer:
    """What reads the files, once ``beside`` has read the job's rows: they have its layout and its
    classes, unless they may have ``layouts`` of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    own = dataset.model_copy(
        update={
            "format": DatasetFormat.AUTO, "layout": Layout.AUTO,
            "columns": dataset.columns.model_copy(update={"group": None}),
        }
    )  # fmt: skip
    made = Gatherer(own, layouts or beside.possible, folder / "contents.arrow", beside.problems)
    if not layouts:
        made.layout, made.kind, made.labels = beside.layout, beside.kind, beside.labels
    return made


def kept(general: Gathered, rows: Gathered, parts: NDArray[np.int8]) -> General:
    """Rows that stand once and that no training row asks; DataError when none is left."""
    twice = dedup.repeated(general.whole)
    asked = np.concatenate([rows.asked[parts == TRAIN], general.asked])
    held = np.full(len(asked), TRAIN, np.int8)
    held[: len(asked) - general.rows] = TEST
    trained = dedup.leaking(asked, held)[len(asked) - general.rows :] & ~twice
    chosen = np.full(general.rows, TEST, np.int8)
    chosen[twice | trained] = DROPPED
    if not (chosen == TEST).any():
        raise DataError(
            f"evaluation.forgetting: all {general.rows} rows of the general set are training rows",
            "name rows of another kind than those that are learnt",
        )
    dropped = {"duplicate": int(twice.sum()), "trainedOn": int(trained.sum())}
    return General(general, chosen, {reason: count for reason, count in dropped.items() if count})
