"""All files of a dataset into one Arrow file of sound rows, with what the split must know.

Texts go to disk; memory holds a 16-byte digest, a label and a source a row.
"""

import hashlib
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.errors import DataError
from finetune_api.job import Columns, DatasetFormat
from finetune_trainer.data.detect import NO_ROWS, detect
from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.read import NO_ROWS_FIX, Reader
from finetune_trainer.data.split import TRAIN

SCHEMA = pa.schema([("text", pa.string())])
CHUNK_ROWS = 2000
CHUNK_CHARS = 4 * 1024 * 1024
MAX_CLASSES = 1000

PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class DataFile:
    """A downloaded data file: its part (TRAIN, VALIDATION, TEST), and its name in messages."""

    path: Path
    name: str
    part: int


@dataclass
class Gathered:
    """Sound rows of all files: texts in ``arrow``, the rest in memory, one entry a row."""

    arrow: Path
    labels: list[str]
    label_ids: NDArray[np.int32]
    parts: NDArray[np.int8]
    digests: NDArray[np.void]
    files: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of all parts together."""
        return len(self.label_ids)


class Gatherer:
    """Reads files in order (training rows first, they define the classes)."""

    def __init__(self, columns: Columns, format_asked: DatasetFormat, arrow: Path) -> None:
        self.columns, self.format, self.arrow = columns, format_asked, arrow
        self.problems = Problems()
        self.ids: dict[str, int] = {}
        self.first_seen: list[tuple[str, int]] = []
        self.label_ids, self.parts, self.digests = array("i"), array("b"), bytearray()
        self.files: list[dict[str, object]] = []
        self.notes: list[str] = []
        self._texts: list[str] = []
        self._chars = 0

    def gather(self, files: list[DataFile]) -> Gathered:
        """Read all files; DataError with everything that is wrong."""
        with pa.OSFile(str(self.arrow), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for file in sorted(files, key=lambda file: file.part):
                self._read(file, writer)
            self._flush(writer)
        self._check_classes()
        self.problems.raise_any()
        names, renumbered = _sorted_labels(self.ids, np.array(self.label_ids, np.int32))
        self._near_equal_labels(names)
        return Gathered(
            self.arrow, names, renumbered, np.array(self.parts, np.int8),
            np.frombuffer(bytes(self.digests), "V16"), self.files, self.notes,
        )  # fmt: skip

    def _read(self, file: DataFile, writer: pa.ipc.RecordBatchFileWriter) -> None:
        found = detect(file.path, self.format)
        entry: dict[str, object] = {
            "name": file.name, "part": PART_NAMES[file.part], "bytes": file.path.stat().st_size,
        }  # fmt: skip
        self.files.append(entry)
        if found.problem:
            is_empty = found.problem == NO_ROWS
            fix = NO_ROWS_FIX if is_empty else "convert it to JSONL or CSV in UTF-8"
            self.problems.add(file.name, 0, rule=found.problem, fix=fix)
            return
        reader = Reader(file.path, file.name, found, self.columns, self.problems)
        for row in reader.rows():
            number = self._class(file, row.line, row.label)
            if number is None:
                continue
            self._texts.append(row.text)
            self._chars += len(row.text)
            self.label_ids.append(number)
            self.parts.append(file.part)
            self.digests += hashlib.blake2b(row.text.encode(), digest_size=16).digest()
            if len(self._texts) >= CHUNK_ROWS or self._chars >= CHUNK_CHARS:
                self._flush(writer)
        notes = reader.notes
        entry |= {"format": str(found.format), "reason": found.reason, "rows": notes.rows}
        if notes.blank_lines:
            self.notes.append(f"{file.name}: {notes.blank_lines} blank lines passed over")
        if notes.trimmed_labels:
            self.notes.append(f"{file.name}: {notes.trimmed_labels} labels had spaces around them")

    def _class(self, file: DataFile, line: int, label: str) -> int | None:
        number = self.ids.get(label)
        if number is None and file.part == TRAIN:
            number = self.ids[label] = len(self.ids)
            self.first_seen.append((file.name, line))
        elif number is None:
            known = ", ".join(sorted(self.ids)[:8]) + (", …" if len(self.ids) > 8 else "")
            self.problems.add(
                file.name, line, field=self.columns.label, value=shown(label),
                rule="is a class that no training row has", fix=f"use one of: {known}",
            )  # fmt: skip
        return number

    def _flush(self, writer: pa.ipc.RecordBatchFileWriter) -> None:
        if self._texts:
            writer.write_batch(pa.record_batch([pa.array(self._texts)], schema=SCHEMA))
            self._texts, self._chars = [], 0

    def _check_classes(self) -> None:
        label = self.columns.label
        train = [n for n, part in zip(self.label_ids, self.parts, strict=True) if part == TRAIN]
        if not train:
            return
        if len(self.ids) == 1:
            self.problems.add(
                "the training rows", 0, field=label, value=shown(next(iter(self.ids))),
                rule="has one class only", fix="add rows of at least one other class",
            )  # fmt: skip
        if len(self.ids) > MAX_CLASSES or (len(self.ids) > 20 and len(self.ids) * 2 > len(train)):
            self.problems.add(
                "the training rows", 0, field=label,
                rule=f"has {len(self.ids)} different values in {len(train)} rows",
                fix="name the column with the class in dataset.columns.label",
            )  # fmt: skip
            return
        counts = np.bincount(train, minlength=len(self.ids))
        for name, number in self.ids.items():
            if counts[number] < 2:
                file, line = self.first_seen[number]
                self.problems.add(
                    file, line, field=label, value=shown(name),
                    rule="is a class with a single row", fix="give every class 2 rows or more",
                )  # fmt: skip

    def _near_equal_labels(self, names: list[str]) -> None:
        lowered: dict[str, str] = {}
        for name in names:
            other = lowered.setdefault(name.lower(), name)
            if other != name:
                self.notes.append(f"classes {other!r} and {name!r} differ only in capitals")


def _sorted_labels(
    ids: dict[str, int], numbers: NDArray[np.int32]
) -> tuple[list[str], NDArray[np.int32]]:
    """Class names in order (whole numbers by value), and the rows renumbered to it."""
    whole = all(name.lstrip("-").isdigit() for name in ids)
    names = sorted(ids, key=(lambda name: (int(name), name)) if whole else None)
    to_new = np.empty(len(ids), np.int32)
    for new, name in enumerate(names):
        to_new[ids[name]] = new
    return names, to_new[numbers]


def require_rows(count: int, part: str) -> None:
    """DataError when dropping left nothing of a part."""
    if count == 0:
        raise DataError(
            f"no {part} rows are left after duplicates and long rows were dropped",
            "see data-report.json; add rows that differ from the held-out ones",
        )
