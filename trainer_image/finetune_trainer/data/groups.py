"""The group that a row belongs to, where the job names a column for it: told, never learnt."""

from array import array
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import Row, Tell, encodable

MAX_GROUPS = 200
RULE = "must be text or a whole number"


class Groups:
    """Numbers the groups as they appear; ``ids`` [rows] are the numbers of kept rows."""

    def __init__(self, column: str, problems: Problems) -> None:
        self.column, self.problems = column, problems
        self.numbers: dict[str, int] = {}
        self.ids = array("i")

    def of(self, layout: Any) -> "Grouped":
        """A layout whose rows know their group."""
        return Grouped(layout, self)

    def of_rows(self, rows: NDArray[np.int64]) -> "Groups":
        """The groups of some rows, any number of times and in any order."""
        found = Groups(self.column, self.problems)
        found.numbers = self.numbers
        found.ids = array("i", np.array(self.ids, np.int32)[rows].tobytes())
        return found

    def check(self) -> None:
        """Few enough to be groups at all."""
        if len(self.numbers) > MAX_GROUPS:
            self.problems.add(
                "the rows", 0, field=self.column,
                rule=f"has {len(self.numbers)} different values in {len(self.ids)} rows",
                fix=f"name a column of at most {MAX_GROUPS} groups in dataset.columns.group",
            )  # fmt: skip

    def table(
        self, parts: NDArray[np.int8], names: tuple[str, ...], labels: list[str],
        label_ids: NDArray[np.int32],
    ) -> dict[str, dict[str, Any]]:  # fmt: skip
        """Of every group its rows by part, and its training rows by class."""
        ids = np.array(self.ids, np.int32)
        found = {}
        for group, number in sorted(self.numbers.items()):
            mine = ids == number
            entry: dict[str, Any] = {
                name: int((mine & (parts == part)).sum()) for part, name in enumerate(names)
            }
            if labels:
                counts = np.bincount(label_ids[mine & (parts == 0)], minlength=len(labels))
                entry["classes"] = dict(zip(labels, counts.tolist(), strict=False))
            found[group] = entry
        return found


class Grouped:
    """Another layout's rows, with the number of their group."""

    def __init__(self, layout: Any, groups: Groups) -> None:
        self.layout, self.groups = layout, groups
        self.roles = (*layout.roles, "group")

    @property
    def trimmed_labels(self) -> int:
        """Of the other layout."""
        count: int = self.layout.trimmed_labels
        return count

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The row; None when it or its group is not sound (told)."""
        value, field = record[self.groups.column], self.groups.column
        row = self.layout.row(record, tell)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number and not (isinstance(value, str) and value.strip() and encodable(value)):
            tell(
                rule=RULE,
                field=field,
                value=shown(value),
                fix="give every row the name of its group",
            )
            return None
        numbers = self.groups.numbers
        number = numbers.setdefault(str(value).strip(), len(numbers))
        return msgspec.structs.replace(row, group=number) if row is not None else None
