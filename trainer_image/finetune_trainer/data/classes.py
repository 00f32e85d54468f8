"""The classes of a classification dataset: training rows define them, every one has its rows."""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import Row

MAX_CLASSES = 1000


class Classes:
    """Numbers the class names as they appear; checks them at the end."""

    def __init__(self, column: str, problems: Problems) -> None:
        self.column, self.problems = column, problems
        self.ids: dict[str, int] = {}
        self._first_seen: list[tuple[str, int]] = []

    def numbers(
        self, rows: list[Row], file: str, lines: list[int], *, defines: bool
    ) -> list[int | None]:
        """Numbers of the classes of some rows; None for one that no training row has (told).
        ``defines``: these rows are for training and may bring new classes."""
        names = [row.answer for row in rows]
        numbers = [self.ids.get(name) for name in names]
        if None not in numbers:
            return numbers
        return [
            self._number(name, file, line, defines) for name, line in zip(names, lines, strict=True)
        ]

    def _number(self, name: str, file: str, line: int, defines: bool) -> int | None:
        number = self.ids.get(name)
        if number is None and defines:
            number = self.ids[name] = len(self.ids)
            self._first_seen.append((file, line))
        elif number is None:
            known = ", ".join(sorted(self.ids)[:8]) + (", …" if len(self.ids) > 8 else "")
            self.problems.add(
                file, line, field=self.column, value=shown(name),
                rule="is a class that no training row has", fix=f"use one of: {known}",
            )  # fmt: skip
        return number

    def check(self, train: NDArray[np.int32]) -> None:
        """Two classes or more, two training rows or more of each. ``train`` [training rows]."""
        if not len(train):
            return
        if len(self.ids) == 1:
            self.problems.add(
                "the training rows", 0, field=self.column, value=shown(next(iter(self.ids))),
                rule="has one class only", fix="add rows of at least one other class",
            )  # fmt: skip
        if len(self.ids) > MAX_CLASSES or (len(self.ids) > 20 and len(self.ids) * 2 > len(train)):
            self.problems.add(
                "the training rows", 0, field=self.column,
                rule=f"has {len(self.ids)} different values in {len(train)} rows",
                fix="name the column with the class in dataset.columns.label",
            )  # fmt: skip
            return
        counts = np.bincount(train, minlength=len(self.ids))
        for name, number in self.ids.items():
            if counts[number] < 2:
                self.problems.add(
                    *self._first_seen[number], field=self.column, value=shown(name),
                    rule="is a class with a single row", fix="give every class 2 rows or more",
                )  # fmt: skip

    def in_order(self, numbers: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
        """Class names in order (whole numbers by value), and the rows renumbered to it."""
        whole = all(name.lstrip("-").isdigit() for name in self.ids)
        names = sorted(self.ids, key=(lambda name: (int(name), name)) if whole else None)
        to_new = np.empty(len(self.ids), np.int32)
        for new, name in enumerate(names):
            to_new[self.ids[name]] = new
        return names, to_new[numbers]

    def notes(self) -> list[str]:
        """Classes that look like one and the same."""
        lowered: dict[str, str] = {}
        notes = []
        for name in sorted(self.ids):
            other = lowered.setdefault(name.lower(), name)
            if other != name:
                notes.append(f"classes {other!r} and {name!r} differ only in capitals")
        return notes
