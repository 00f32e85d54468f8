"""A text and a quantity."""

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.dataset import Columns
from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import Row, Tell, sound_text

LARGEST = 1e30
"""Squares of greater ones leave float32."""


class Numbers:
    """A text and its number; cells of a CSV file hold it as text."""

    roles = ("text", "label")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Text and number."""
        text = sound_text(record[self.columns.text], self.columns.text, tell)
        number = self._number(record[self.columns.label], tell)
        if text is None or number is None:
            return None
        content = json.dumps({"text": text, "number": number}, ensure_ascii=False)
        return Row(content, text, repr(number))

    def _number(self, value: object, tell: Tell) -> float | None:
        field = self.columns.label
        if value is None or value == "":
            tell(rule="has no value", fix="give every row its number", field=field,
                 value=shown(value))  # fmt: skip
            return None
        found = math.nan
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            try:
                found = float(value)
            except (ValueError, OverflowError):
                found = math.nan
        if not abs(found) <= LARGEST:
            tell(
                rule="must be a number", field=field, value=shown(value),
                fix="write numbers in all rows, or set dataset.labels: Single for names of classes",
            )  # fmt: skip
            return None
        return found


class Spread:
    """Are there different numbers? They have no names, and every row the same place in a split."""

    def __init__(self, column: str, problems: Problems) -> None:
        self.column, self.problems = column, problems
        self._seen: set[str] = set()

    def numbers(
        self, rows: list[Row], file: str, lines: list[int], *, defines: bool
    ) -> list[int | None]:
        """0 for every row."""
        if defines and len(self._seen) < 2:
            self._seen.update(row.answer for row in rows)
        return [0] * len(rows)

    def check(self, train: NDArray[np.int32]) -> None:
        """Two different numbers or more."""
        if len(self._seen) == 1:
            self.problems.add(
                "the training rows", 0, field=self.column, value=next(iter(self._seen)),
                rule="is the same number in all rows", fix="add rows with other numbers",
            )  # fmt: skip

    def in_order(self, numbers: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
        """No names."""
        return [], numbers

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []
