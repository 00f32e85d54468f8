"""What rows hold any number of: kinds of entities, or labels. Training rows define the names."""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import Row

MAX_NAMES = 500
LEAST_ROWS = 2
"""Training rows that must hold a name: one to learn from, one that may be held out."""


class LabelSets:
    """Numbers the sets of names that rows hold, as they appear; checks the names at the end."""

    def __init__(self, column: str, what: str, problems: Problems) -> None:
        self.column, self.what, self.problems = column, what, problems
        self._sets: dict[tuple[str, ...], int] = {}
        self._known: dict[str, tuple[str, int]] = {}
        """Where each name was first seen."""

    def numbers(
        self, rows: list[Row], file: str, lines: list[int], *, defines: bool
    ) -> list[int | None]:
        """Numbers of the sets of some rows; None for one with a name that no training row has
        (told). ``defines``: these rows are for training and may bring new names."""
        return [
            self._sets.setdefault(row.labels, len(self._sets))
            if self._all_known(row, file, line, defines) else None
            for row, line in zip(rows, lines, strict=True)
        ]  # fmt: skip

    def _all_known(self, row: Row, file: str, line: int, defines: bool) -> bool:
        strange = [name for name in row.labels if name not in self._known]
        if strange and defines:
            self._known.update(dict.fromkeys(strange, (file, line)))
        elif strange:
            known = ", ".join(sorted(self._known)[:8]) + (", …" if len(self._known) > 8 else "")
            self.problems.add(
                file, line, field=self.column, value=shown(strange[0]),
                rule=f"holds {self.what} that no training row has", fix=f"use some of: {known}",
            )  # fmt: skip
        return defines or not strange

    def check(self, train: NDArray[np.int32]) -> None:
        """One name or more, two training rows or more of each. ``train`` [training rows]."""
        if not len(train):
            return
        if not self._known:
            self.problems.add(
                "the training rows", 0, field=self.column, rule=f"has no row with {self.what}",
                fix="add rows that hold what is to be learnt",
            )  # fmt: skip
        if len(self._known) > MAX_NAMES:
            self.problems.add(
                "the training rows", 0, field=self.column,
                rule=f"holds {len(self._known)} different names in {len(train)} rows",
                fix=f"name at most {MAX_NAMES}",
            )  # fmt: skip
            return
        counts = self._counts(train)
        for name, (file, line) in self._known.items():
            if counts[name] < LEAST_ROWS:
                self.problems.add(
                    file, line, field=self.column, value=shown(name),
                    rule=f"holds {self.what} that a single row has",
                    fix=f"let {LEAST_ROWS} rows or more hold each",
                )  # fmt: skip

    def _counts(self, numbers: NDArray[np.int32]) -> dict[str, int]:
        """Rows that hold each name."""
        by_set = np.bincount(numbers, minlength=len(self._sets))
        counts = dict.fromkeys(self._known, 0)
        for names, number in self._sets.items():
            for name in names:
                counts[name] += int(by_set[number])
        return counts

    def in_order(self, numbers: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
        """Names in order, and for every row its rarest one's number (after the last: none): rows
        are held out by it, so that rare names stand in every part."""
        names, counts = sorted(self._known), self._counts(numbers)
        place = {name: number for number, name in enumerate(names)}
        rarest = np.full(len(self._sets), len(names), np.int32)
        for held, number in self._sets.items():
            if held:
                rarest[number] = place[min(held, key=lambda name: (counts[name], name))]
        return names, rarest[numbers]

    def notes(self) -> list[str]:
        """Names that look like one and the same."""
        lowered: dict[str, str] = {}
        notes = []
        for name in sorted(self._known):
            other = lowered.setdefault(name.lower(), name)
            if other != name:
                notes.append(f"{self.what} {other!r} and {name!r} differ only in capitals")
        return notes
