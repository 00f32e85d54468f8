"""Everything that is wrong with a dataset, collected before it is told.

A user mends a file once, so one run names all kinds of errors: each kind with its first places
and its count. Only the first places are kept; counts go on.
"""

import json
from dataclasses import dataclass, field

from finetune_api.errors import DataError

KEPT_PER_KIND = 20
KINDS_TOLD = 4
PLACES_TOLD = 3
VALUE_SHOWN = 80


@dataclass(frozen=True)
class Place:
    """Where a problem is: file, line (1-based; 0 = the whole file), and the offending value.
    ``in_rows``: the file has rows, not lines."""

    file: str
    line: int
    value: str
    in_rows: bool = False

    @property
    def where(self) -> str:
        """`rows.jsonl:9`, `rows.parquet row 9`, or the file alone."""
        separator = " row " if self.in_rows else ":"
        return f"{self.file}{separator}{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.where} ({self.value})" if self.value else self.where


@dataclass
class Kind:
    """One kind of problem: a rule that was broken, and how to mend it."""

    field: str
    rule: str
    fix: str
    count: int = 0
    places: list[Place] = field(default_factory=list)

    def sentence(self) -> str:
        """Places, what is wrong there, and a value once when all places have the same."""
        told = self.places[:PLACES_TOLD]
        same = told[0].value if len(told) > 1 and len({place.value for place in told}) == 1 else ""
        shown = ", ".join(place.where if same else str(place) for place in told)
        more = self.count - min(self.count, PLACES_TOLD)
        tail = f" and {more} more" if more > 0 else ""
        subject = f"field {self.field!r} " if self.field else ""
        return f"{shown}{tail}: {subject}{self.rule}" + (f" ({same})" if same else "")


def shown(value: object) -> str:
    """A value as it is quoted in an error: short, on one line, in the words of the file."""
    is_word = value is None or isinstance(value, bool)
    return short(json.dumps(value) if is_word else repr(value))


def short(text: str) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= VALUE_SHOWN else text[: VALUE_SHOWN - 1] + "…"


class Problems:
    """Collects problems; ``raise_any`` tells all kinds in one DataError."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.files_of_rows: set[str] = set()
        """Files whose places are rows: they have no lines."""
        self.members: dict[str, list[str]] = {}
        """Folders whose places are files of their own."""

    def add(
        self, file: str, line: int, *, rule: str, fix: str, field: str = "", value: str = ""
    ) -> None:
        """One broken rule at one place."""
        if line and file in self.members:
            file, line = self.members[file][line - 1], 0
        kind = self.kinds.setdefault((field, rule), Kind(field, rule, fix))
        kind.count += 1
        if len(kind.places) < KEPT_PER_KIND:
            kind.places.append(Place(file, line, short(value), file in self.files_of_rows))

    @property
    def count(self) -> int:
        """Problems found so far."""
        return sum(kind.count for kind in self.kinds.values())

    def raise_any(self) -> None:
        """DataError with the first places of each kind, or nothing when all is well."""
        if not self.kinds:
            return
        kinds = list(self.kinds.values())
        told = "; ".join(numbered([kind.sentence() for kind in kinds[:KINDS_TOLD]]))
        rest = sum(kind.count for kind in kinds[KINDS_TOLD:])
        if rest:
            told += f"; {rest} problems of {len(kinds) - KINDS_TOLD} other kinds"
        noun = "problem" if self.count == 1 else "problems"
        fixes = numbered([kind.fix for kind in kinds[:KINDS_TOLD]])
        raise DataError(f"{self.count} {noun} in the dataset: {told}", "; ".join(fixes))


def numbered(parts: list[str]) -> list[str]:
    """`(1) …`, `(2) …`, so that each kind finds its remedy; one alone needs no number."""
    if len(parts) == 1:
        return parts
    return [f"({number}) {part}" for number, part in enumerate(parts, 1)]
