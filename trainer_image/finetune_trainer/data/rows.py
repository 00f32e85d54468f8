"""Rows read, checked and split, before any model is looked at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.dataset import Dataset, HeldOutSource
from finetune_api.defaults import HELD_OUT_FRACTION
from finetune_api.learning import Layout
from finetune_trainer.data import dedup
from finetune_trainer.data.checks import DROPPED, RowChecks
from finetune_trainer.data.gather import (
    PART_NAMES,
    DataFile,
    Gathered,
    Gatherer,
    require_rows,
)  # fmt: skip
from finetune_trainer.data.general import General, gatherer, kept
from finetune_trainer.data.split import GENERAL, TEST, TRAIN, VALIDATION, split


@dataclass(frozen=True)
class Rows:
    """Sound rows, the part of each (or DROPPED), how many were dropped by reason, and what checks
    found.

    ``augmented`` tells what was added to them, where the job asks for that: changed versions of
    training rows, which stand among the rows of ``gathered.arrow``, ``label_ids`` and ``parts``.
    """

    gathered: Gathered
    parts: NDArray[np.int8]
    dropped: dict[str, int]
    checks: dict[str, Any]
    augmented: dict[str, Any] | None = None
    general: General | None = None
    """The general set, where the job names one."""


def read(
    files: list[DataFile],
    dataset: Dataset,
    layouts: tuple[Layout, ...],
    *,
    seed: int,
    scratch: Path,
    general_layouts: tuple[Layout, ...] = (),
) -> Rows:
    """Check every row of every file and split; DataError with everything that is wrong. Of the
    general set rows may have ``general_layouts``, else that of the others."""
    scratch.mkdir(parents=True, exist_ok=True)
    reader = Gatherer(dataset, layouts, scratch / "contents.arrow")
    reader.read([file for file in files if file.part != GENERAL])
    beside, others = None, [file for file in files if file.part == GENERAL]
    if others:
        beside = gatherer(reader, dataset, general_layouts, scratch / "general")
        beside.read(others)
    gathered = reader.gathered()
    checks = RowChecks(gathered, dataset.checks, scratch)
    parts, dropped = assign(gathered, dataset, seed, checks)
    found = kept(beside.gathered(), gathered, parts) if beside else None
    return Rows(gathered, parts, dropped | checks.dropped, checks.report, general=found)


def assign(
    gathered: Gathered, dataset: Dataset, seed: int, checks: RowChecks
) -> tuple[NDArray[np.int8], dict[str, int]]:
    """The part of every row, and what was dropped: duplicates first, then the split, then leaks."""
    parts = gathered.parts.copy()
    dropped: dict[str, int] = {}
    of_train = np.flatnonzero(parts == TRAIN)
    twice = of_train[dedup.repeated(gathered.whole[of_train])]
    parts[twice] = DROPPED
    dropped["duplicate"] = len(twice)
    checks.before_split(parts)
    fractions = {
        part: _fraction(source)
        for part, source in ((VALIDATION, dataset.validation), (TEST, dataset.test))
        if source is None or source.uri is None
    }
    of_train = np.flatnonzero(parts == TRAIN)
    require_rows(len(of_train), PART_NAMES[TRAIN])
    if fractions:
        parts[of_train] = split(gathered.label_ids[of_train], fractions, seed)
    leaks = dedup.leaking(gathered.asked, parts)
    parts[leaks] = DROPPED
    dropped["alsoHeldOut"] = int(leaks.sum())
    checks.after_split(parts)
    return parts, dropped


def _fraction(source: HeldOutSource | None) -> float:
    return HELD_OUT_FRACTION if source is None or source.fraction is None else source.fraction
