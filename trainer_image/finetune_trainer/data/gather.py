"""All files of a dataset into one Arrow file of sound rows, with what the split must know.

Contents go to disk; memory holds two 16-byte digests, a class and a part for each row.
"""

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from finetune_api.dataset import Dataset
from finetune_api.errors import DataError
from finetune_api.learning import LabelKind, Layout, Media
from finetune_trainer.data import class_folders
from finetune_trainer.data.class_folders import ClassFolders
from finetune_trainer.data.classes import Classes
from finetune_trainer.data.detect import FORMAT_FIX, NO_ROWS, NO_ROWS_FIX, detect
from finetune_trainer.data.groups import Groups
from finetune_trainer.data.judgements import Judgements
from finetune_trainer.data.label_lists import LabelLists
from finetune_trainer.data.label_sets import LabelSets
from finetune_trainer.data.layouts import LAYOUTS, choose, tell_missing
from finetune_trainer.data.media import MediaFiles
from finetune_trainer.data.numbers import Numbers, Spread
from finetune_trainer.data.problems import Problems
from finetune_trainer.data.read import Reader
from finetune_trainer.data.row import Row
from finetune_trainer.data.split import TRAIN

SCHEMA = pa.schema([("content", pa.string())])
CHUNK_ROWS = 2000
CHUNK_CHARS = 4 * 1024 * 1024
MEDIA_ROWS = 32
"""Rows of a chunk that hold media: an address is short, and what is made of it is not."""
MEDIA = {
    Layout.IMAGE_LABELS: Media.IMAGE,
    Layout.AUDIO_LABELS: Media.AUDIO,
    Layout.AUDIO_TEXT: Media.AUDIO,
}

NAMED: dict[LabelKind | Layout | None, dict[str, str]] = {
    LabelKind.MULTI: {"label": "labels"}, LabelKind.NUMBER: {"label": "number"},
    Layout.KTO: {"label": "judgement"}, Layout.KTO_MESSAGES: {"label": "judgement"},
    Layout.PREFERENCE_MESSAGES: {"chosen": "messages", "rejected": "messages"},
}  # fmt: skip
"""What a role is called where its column holds another type of values."""

PREFERENCES = (Layout.PREFERENCE, Layout.PREFERENCE_MESSAGES)
"""Answers as texts, and as conversations: their columns are called the same."""
PART_NAMES = ("train", "validation", "test")
GENERAL_NAME = "general"
FILE_PARTS = (*PART_NAMES, GENERAL_NAME)
"""What files are for, by number."""


@dataclass(frozen=True)
class DataFile:
    """A downloaded data file: its part (TRAIN, VALIDATION, TEST, GENERAL), and its name in
    messages."""

    path: Path
    name: str
    part: int


@dataclass
class Gathered:
    """Sound rows of all files: contents in ``arrow``, the rest in memory, one entry a row.

    ``labels`` names the classes; empty, and every class number 0, where rows have none. Of a row
    that holds several the number is that of its rarest, and one after the last for none. ``asked``
    and ``whole`` are digests of what is asked, and of question and answer together.
    """

    arrow: Path
    layout: Layout
    labels: list[str]
    label_ids: NDArray[np.int32]
    parts: NDArray[np.int8]
    asked: NDArray[np.void]
    whole: NDArray[np.void]
    files: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: LabelKind | None = None
    """What the labels of texts are, where the layout is Labels."""
    groups: Groups | None = None
    """The group of every row, where the job names a column for it."""
    places: "Places | None" = None
    """Where each row stands, of rows that are looked at again when they are encoded."""

    @property
    def rows(self) -> int:
        """Rows of all parts together, as they were read."""
        return len(self.whole)


class Places:
    """File and line of rows, eight bytes each, and what is wrong with them."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.names: list[str] = []
        self._files, self._lines = array("i"), array("i")

    def extend(self, name: str, lines: list[int]) -> None:
        """Rows of a file."""
        if not self.names or self.names[-1] != name:
            self.names.append(name)
        self._files.extend([len(self.names) - 1] * len(lines))
        self._lines.extend(lines)

    def tell(self, row: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at a row, counted over all files from 0."""
        name, line = self.names[self._files[row]], self._lines[row]
        self.problems.add(name, line, rule=rule, fix=fix, field=field, value=value)


class Gatherer:
    """Reads files in order (training rows first, they define layout and classes). What is wrong is
    told in ``problems``."""

    def __init__(
        self,
        dataset: Dataset,
        layouts: tuple[Layout, ...],
        arrow: Path,
        problems: Problems | None = None,
    ) -> None:
        self.dataset, self.possible, self.arrow = dataset, layouts, arrow
        self.media = MEDIA.get(layouts[0])
        self.chunk_rows = CHUNK_ROWS if self.media is None else MEDIA_ROWS
        self.problems = Problems() if problems is None else problems
        self.places = Places(self.problems) if self.media is not None else None
        self.layout: Layout | None = None
        self.kind: LabelKind | None = None
        self.labels: Classes | LabelSets | Spread | None = None
        self.label_ids, self.parts = array("i"), array("b")
        self.asked, self.whole = bytearray(), bytearray()
        self.files: list[dict[str, object]] = []
        self.notes: list[str] = []
        group = dataset.columns.group
        self.groups = Groups(group, self.problems) if group is not None else None

    def gather(self, files: list[DataFile]) -> Gathered:
        """Read all files; DataError with everything that is wrong."""
        self.read(files)
        return self.gathered()

    def read(self, files: list[DataFile]) -> None:
        """Read all files; what is wrong is kept for later."""
        with pa.OSFile(str(self.arrow), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for file in sorted(files, key=lambda file: file.part):
                self._read(file, writer)

    def gathered(self) -> Gathered:
        """What was read; DataError with everything that is wrong."""
        numbers, parts = np.array(self.label_ids, np.int32), np.array(self.parts, np.int8)
        names: list[str] = []
        if self.labels is not None:
            self.labels.check(numbers[parts == TRAIN])
        if self.groups is not None:
            self.groups.check()
        self.problems.raise_any()
        if self.labels is not None:
            names, numbers = self.labels.in_order(numbers)
            self.notes += self.labels.notes()
        assert self.layout is not None
        return Gathered(
            self.arrow, self.layout, names, numbers, parts,
            np.frombuffer(self.asked, "V16"), np.frombuffer(self.whole, "V16"),
            self.files, self.notes, self.kind, self.groups, self.places,
        )  # fmt: skip

    def _read(self, file: DataFile, writer: pa.ipc.RecordBatchFileWriter) -> None:
        folder = self.media if file.path.is_dir() else None
        found = class_folders.detected(folder) if folder else detect(file.path, self.dataset.format)
        entry: dict[str, object] = {
            "name": file.name, "part": FILE_PARTS[file.part], "bytes": _size(file.path),
        }  # fmt: skip
        self.files.append(entry)
        if found.problem:
            fix = NO_ROWS_FIX if found.problem == NO_ROWS else FORMAT_FIX
            self.problems.add(file.name, 0, rule=found.problem, fix=fix)
            return
        reader: Reader | ClassFolders = Reader(file.path, file.name, found, self.problems)
        if folder:
            columns = self.dataset.columns
            reader = ClassFolders(file.path, file.name, folder, columns, self.problems)
        before, count = self.problems.count, 0
        rows, lines, chars = [], [], 0
        for row in self._rows(reader, file):
            rows.append(row)
            lines.append(reader.line)
            chars += len(row.content)
            if len(rows) >= self.chunk_rows or chars >= CHUNK_CHARS:
                count += len(rows)
                self._keep(file, rows, lines, writer)
                rows, lines, chars = [], [], 0
        count += len(rows)
        self._keep(file, rows, lines, writer)
        if count == 0 and self.problems.count == before:
            left_out = _listed(reader.left_out)
            fix = "annotate tasks and export them again" if left_out else NO_ROWS_FIX
            reader.tell_at(0, rule=NO_ROWS, fix=fix, value=left_out)
        entry |= {"format": str(found.format), "reason": found.reason, "rows": count}
        if left_out := {reason: count for reason, count in reader.left_out.items() if count}:
            entry["leftOut"] = left_out
            self.notes.append(f"{file.name}: left out: {_listed(reader.left_out)}")
        if reader.blank_lines:
            self.notes.append(f"{file.name}: {reader.blank_lines} blank lines passed over")

    def _rows(self, reader: Reader | ClassFolders, file: DataFile) -> Iterator[Row]:
        """The sound rows of a file."""
        columns, seen = self.dataset.columns, reader.columns()
        if self.layout is None and seen:
            self.layout = choose(self.dataset.layout, self.possible, columns, seen)
            if self.dataset.layout is Layout.AUTO and self.layout in PREFERENCES:
                sides = {columns.chosen: "chosen", columns.rejected: "rejected"}
                spoken = isinstance(reader.first(columns.chosen, sides), list)
                self.layout = PREFERENCES[spoken]
            if self.layout is Layout.LABELS:
                self.kind = _kind(self.dataset, reader)
            self.labels = self._labels(self.layout)
        layout = self._row_layout(file)
        layout = layout if self.groups is None else self.groups.of(layout)
        named = NAMED.get(self.kind or self.layout, {})
        roles = {getattr(columns, role): named.get(role, role) for role in layout.roles}
        needed = roles.keys()
        if reader.header_line is not None and seen and not needed <= set(seen):
            reader.line = reader.header_line
            tell_missing(layout, columns, seen, reader.tell)
            return
        for record in reader.records(roles):
            if not needed <= record.keys():
                tell_missing(layout, columns, list(record), reader.tell)
                continue
            row = layout.row(record, reader.tell)
            if row is not None:
                yield row
        if layout.trimmed_labels:
            text = f"{reader.name}: {layout.trimmed_labels} labels had spaces around them"
            self.notes.append(text)

    def _row_layout(self, file: DataFile) -> Any:
        """What turns records of a file into rows."""
        layout, columns = self.layout or self.possible[0], self.dataset.columns
        if self.media is None:
            return _layout(layout, self.kind)(columns)
        folder = file.path if file.path.is_dir() else file.path.parent
        kept = self.arrow.with_name("media.bin")
        return LAYOUTS[layout](columns, MediaFiles(self.media, folder, kept))

    def _labels(self, layout: Layout) -> Classes | LabelSets | Spread | None:
        """What numbers the labels of a layout's rows; None where rows have none."""
        columns = self.dataset.columns
        match layout:
            case Layout.LABELS if self.kind is LabelKind.MULTI:
                return LabelSets(columns.label, "a label", self.problems)
            case Layout.LABELS if self.kind is LabelKind.NUMBER:
                return Spread(columns.label, self.problems)
            case Layout.LABELS | Layout.IMAGE_LABELS | Layout.AUDIO_LABELS:
                return Classes(columns.label, self.problems)
            case Layout.SPANS:
                return LabelSets(columns.spans, "a kind of entity", self.problems)
            case Layout.TOKEN_TAGS:
                return LabelSets(columns.tags, "a kind of entity", self.problems)
            case Layout.KTO | Layout.KTO_MESSAGES:
                return Judgements(columns.label, self.problems)
        return None

    def _keep(
        self,
        file: DataFile,
        rows: list[Row],
        lines: list[int],
        writer: pa.ipc.RecordBatchFileWriter,
    ) -> None:
        """Number and hash the rows of a chunk, and write their contents."""
        numbers: list[int | None] = [0] * len(rows)
        if self.labels is not None:
            numbers = self.labels.numbers(rows, file.name, lines, defines=file.part == TRAIN)
        if self.places is not None:
            kept = zip(lines, numbers, strict=True)
            self.places.extend(file.name, [line for line, number in kept if number is not None])
        rows = [row for row, number in zip(rows, numbers, strict=True) if number is not None]
        if not rows:
            return
        contents = pa.array([row.content for row in rows], pa.string())
        writer.write_batch(pa.record_batch([contents], schema=SCHEMA))
        self.label_ids.extend([number for number in numbers if number is not None])
        self.parts.extend([file.part] * len(rows))
        if self.groups is not None:
            self.groups.ids.extend([row.group for row in rows])
        self.asked += b"".join([xxh3_128_digest(row.asked.encode()) for row in rows])
        said = (f"{row.asked}\0{row.answer}" for row in rows)
        self.whole += b"".join([xxh3_128_digest(text.encode()) for text in said])


def _listed(counts: Mapping[str, int]) -> str:
    """`not annotated 3, predictions only 1`."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()) if count)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _kind(dataset: Dataset, reader: Reader | ClassFolders) -> LabelKind:
    """What labels are: the user's word, else by the first training row."""
    if dataset.labels is not LabelKind.AUTO:
        return dataset.labels
    columns = dataset.columns
    label = reader.first(columns.label, {columns.text: "text", columns.label: "label"})
    if isinstance(label, list):
        return LabelKind.MULTI
    has_fraction = isinstance(label, float) and math.isfinite(label) and not label.is_integer()
    return LabelKind.NUMBER if has_fraction else LabelKind.SINGLE


def _layout(layout: Layout, kind: LabelKind | None) -> type[Any]:
    """What turns records into rows."""
    other = {LabelKind.MULTI: LabelLists, LabelKind.NUMBER: Numbers}
    return other[kind] if kind in other else LAYOUTS[layout]


def require_rows(count: int, part: str) -> None:
    """DataError when dropping left nothing of a part."""
    if count == 0:
        raise DataError(
            f"no {part} rows are left after duplicates and long rows were dropped",
            "see data-report.json; add rows that differ from the held-out ones",
        )
