"""What is looked for in sound rows: likeness, personal data, languages, balance; and what follows.

Rows are equal or not for nothing; whether they are alike costs a hundred times a row's own check.
So without a word in the job likeness is looked for where rows are few enough, and personal data
and languages in a sample that is spread evenly over the rows.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Check, Checks
from finetune_api.errors import DataError
from finetune_api.learning import LabelKind, Layout
from finetune_trainer.data import languages, likeness, personal
from finetune_trainer.data.gather import PART_NAMES, Gathered
from finetune_trainer.data.likeness import Likeness
from finetune_trainer.data.split import TRAIN
from finetune_trainer.data.texts import said

DROPPED = -1
COMPARED_ROWS = 100_000
"""Rows up to which likeness is looked for unasked."""
SAMPLED_ROWS, LANGUAGE_ROWS = 10_000, 2_000
EXAMPLES = 10
"""Rows named in the report, and in an error, of each kind."""
TOLD = 3
WITHOUT_TEXT = frozenset({Layout.IMAGE_LABELS, Layout.AUDIO_LABELS, Layout.AUDIO_TEXT})
"""Layouts whose rows hold no text to look at."""
UNBALANCED = 20
"""A class with so many times the rows of another is told."""

Parts = NDArray[np.int8]


class RowChecks:
    """Looks at the rows of a dataset, drops or refuses what the job says; ``report`` tells."""

    def __init__(self, gathered: Gathered, checks: Checks, scratch: Path) -> None:
        self.gathered, self.checks, self.scratch = gathered, checks, scratch
        self.report: dict[str, Any] = {}
        self.dropped: dict[str, int] = {}

    def before_split(self, parts: Parts) -> None:
        """Personal data in any row, and training rows that are like an earlier one."""
        if self.gathered.layout in WITHOUT_TEXT:
            return
        self.report["languages"] = self._languages()
        self._personal(parts)
        action = self._action("duplicates", self.checks.duplicates)
        if action is not Check.OFF:
            found = likeness.repeated(self._signatures, np.flatnonzero(parts == TRAIN))
            self._act("duplicates", action, found, parts, "nearDuplicate", "an earlier one")

    def after_split(self, parts: Parts) -> None:
        """Training rows that are like a held-out one, and classes that are far from even."""
        self._balance(parts)
        if self.gathered.layout in WITHOUT_TEXT:
            return
        action = self._action("leakage", self.checks.leakage)
        if action is not Check.OFF:
            train, held_out = np.flatnonzero(parts == TRAIN), np.flatnonzero(parts > TRAIN)
            found = likeness.leaking(self._signatures, train, held_out)
            self._act("leakage", action, found, parts, "likeHeldOut", "a held-out one")

    def _action(self, name: str, asked: Check | None) -> Check:
        """What is done about likeness: as the job says, else by the number of rows."""
        rows = self.gathered.rows
        action = asked or (Check.REPORT if rows <= COMPARED_ROWS else Check.OFF)
        self.report[name] = {"action": str(action)}
        if asked is None and action is Check.OFF:
            self.report[name]["reason"] = (
                f"{rows:,} rows; without a word it is looked for in up to {COMPARED_ROWS:,}: "
                f"set dataset.checks.{name}"
            )
        return action

    @cached_property
    def _signatures(self) -> likeness.Signatures:
        return likeness.signatures(self.gathered.arrow, self.scratch)

    def _act(
        self, name: str, action: Check, found: Likeness, parts: Parts, reason: str, what: str
    ) -> None:
        """Tell the rows that are like ``what``, and drop or refuse them."""
        rows = np.flatnonzero(found.found)
        shown = rows[np.argsort(-found.share[rows], kind="stable")][:EXAMPLES]
        pairs = [(self._place(row), self._place(int(found.other[row]))) for row in shown.tolist()]
        likenesses = found.share[shown].round(2).tolist()
        self.report[name] |= {
            "rows": len(rows),
            "examples": [
                {"row": row, "like": other, "likeness": round(share, 2)}
                for (row, other), share in zip(pairs, likenesses, strict=True)
            ],
        }
        if not len(rows):
            return
        if action is Check.FAIL:
            told = ", ".join(
                f"{row} is like {other} ({share:.2f})"
                for (row, other), share in zip(pairs[:TOLD], likenesses, strict=False)
            )
            raise DataError(
                f"{len(rows)} training rows are like {what}: {told}",
                f"remove them, or set dataset.checks.{name} to Drop or Report",
            )
        if action is Check.DROP:
            parts[rows] = DROPPED
            self.dropped[reason] = len(rows)
        self.gathered.notes.append(f"{len(rows)} training rows are like {what}, though not equal")

    def _personal(self, parts: Parts) -> None:
        """Look for personal data: in a sample to report it, in all rows to act on it."""
        action = self.checks.pii
        self.report["pii"] = {"action": str(action)}
        if action is Check.OFF:
            return
        counts: Counter[str] = Counter()
        examples: dict[str, list[dict[str, str]]] = {}
        looked, bad = 0, []
        sample = SAMPLED_ROWS if action is Check.REPORT else self.gathered.rows
        for row, text in self._texts(sample):
            looked += 1
            found = {one.kind: one for one in personal.find(text)}
            if not found or parts[row] == DROPPED:
                continue
            bad.append(row)
            counts.update(found.keys())
            for kind, one in found.items():
                some = examples.setdefault(kind, [])
                if len(some) < EXAMPLES:
                    some.append({"row": self._place(row), "outline": one.outline})
        self.report["pii"] |= {
            "looked": looked, "rows": len(bad), "kinds": dict(counts), "examples": examples,
        }  # fmt: skip
        kinds = ", ".join(f"{kind} in {count}" for kind, count in counts.most_common())
        if bad and action is Check.FAIL:
            places = ", ".join(self._place(row) for row in bad[:TOLD])
            raise DataError(
                f"{len(bad)} rows hold personal data or secrets ({kinds}): {places}"
                + (f" and {len(bad) - TOLD} more" if len(bad) > TOLD else ""),
                "remove them, or set dataset.checks.pii to Drop or Report",
            )
        if bad and action is Check.DROP:
            parts[bad] = DROPPED
            self.dropped["personalData"] = len(bad)
        if bad:
            self.gathered.notes.append(
                f"of {looked} rows looked at, {len(bad)} hold personal data or secrets: {kinds}"
            )

    def _languages(self) -> dict[str, Any]:
        texts = [text for _, text in self._texts(LANGUAGE_ROWS)]
        return {"looked": len(texts), "shares": languages.shares(texts)}

    def _balance(self, parts: Parts) -> None:
        """Rows of every group, and a note when one class has many times the rows of another."""
        gathered = self.gathered
        if gathered.groups is not None:
            table = gathered.groups.table(parts, PART_NAMES, gathered.labels, gathered.label_ids)
            self.report["groups"] = table
            few = [name for name, rows in table.items() if not rows["train"] or not rows["test"]]
            if few:
                gathered.notes.append(
                    f"groups without training or without test rows: {', '.join(few[:TOLD])}"
                    + (f" and {len(few) - TOLD} more" if len(few) > TOLD else "")
                )
        if gathered.kind is not LabelKind.SINGLE or gathered.layout is not Layout.LABELS:
            return
        counts = np.bincount(gathered.label_ids[parts == TRAIN], minlength=len(gathered.labels))
        most, least = int(counts.argmax()), int(counts.argmin())
        if counts[most] >= UNBALANCED * counts[least]:
            gathered.notes.append(
                f"class {gathered.labels[most]!r} has {counts[most]} training rows, "
                f"{gathered.labels[least]!r} {counts[least]}: look at macro_f1, not accuracy"
            )

    def _texts(self, sample: int) -> Iterator[tuple[int, str]]:
        """Numbers and texts of at most about ``sample`` rows, evenly spread."""
        step, start = max(1, self.gathered.rows // sample), 0
        with pa.OSFile(str(self.gathered.arrow), "rb") as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                column = reader.get_batch(number).column(0)
                chosen = np.arange(-start % step, len(column), step)
                for at, content in zip(chosen, column.take(chosen).to_pylist(), strict=True):
                    yield start + int(at), said(content)
                start += len(column)

    def _place(self, row: int) -> str:
        """Where a row was read: its file, and its number there."""
        for file in self.gathered.files:
            count = int(str(file.get("rows", 0)))
            if row < count:
                return f"{file['name']} row {row + 1}"
            row -= count
        raise AssertionError("a row of no file")
