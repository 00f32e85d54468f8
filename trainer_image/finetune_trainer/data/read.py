"""Rows of a file, every one checked.

Yields only sound rows; whatever is wrong goes to ``Problems`` with file and line. Nothing is
guessed: a label that is a number with a fraction, or a row with one cell too few, is an error.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import msgspec

from finetune_api.job import Columns, DatasetFormat
from finetune_trainer.data.detect import UTF8_MARK, Detected
from finetune_trainer.data.parquet import ParquetRows
from finetune_trainer.data.problems import Problems, shown

CSV_FIELD_LIMIT = 16 * 1024 * 1024
"""Characters of one CSV cell; a missing quote must not swallow a whole file."""

LABEL_RULE = "must be text or a whole number"
UTF8_FIX = "save the file as UTF-8"
COMMON_TEXT = ("text", "sentence", "content", "body", "message", "input", "review", "document")
COMMON_LABEL = ("label", "labels", "category", "class", "target", "intent", "topic", "tag")


class Row(msgspec.Struct, frozen=True):
    """One example: text and class name, and the line it stands on."""

    text: str
    label: str
    line: int


@dataclass
class FileNotes:
    """Harmless things about a file that the report tells."""

    rows: int = 0
    blank_lines: int = 0
    trimmed_labels: int = 0


class Reader:
    """Reads one file; ``name`` is what messages call it."""

    def __init__(
        self, path: Path, name: str, detected: Detected, columns: Columns, problems: Problems
    ) -> None:
        self.path, self.name, self.detected = path, name, detected
        self.columns, self.problems = columns, problems
        self._names = columns.text, columns.label
        self.notes = FileNotes()
        self._sound_labels: set[str] = set()
        """Labels that were found sound as they are; there are few, and rows are many."""

    def rows(self) -> Iterator[Row]:
        """Sound rows in file order."""
        before, count = self.problems.count, 0
        for line, record in self._records():
            row = self._row(line, record)
            if row is not None:
                count += 1
                yield row
        self.notes.rows = count
        if self.notes.rows == 0 and self.problems.count == before:
            self._bad(0, rule="holds no rows", fix="check dataset uri and file")

    def _records(self) -> Iterator[tuple[int, dict[str, object]]]:
        match self.detected.format:
            case DatasetFormat.PARQUET:
                return self._parquet_records()
            case DatasetFormat.CSV:
                return self._csv_records()
            case _:
                return self._json_records()

    def _bad(self, line: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        self.problems.add(self.name, line, rule=rule, fix=fix, field=field, value=value)

    def _lines(self) -> Iterator[tuple[int, str | None]]:
        """Decoded lines with their numbers; None where a line is not UTF-8 (told)."""
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, self._decoded(number, raw)

    def _decoded(self, number: int, raw: bytes) -> str | None:
        data = raw.removeprefix(UTF8_MARK) if number == 1 else raw
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = data[error.start : error.start + 1].hex()
            self._bad(
                number, rule="is not UTF-8", fix=UTF8_FIX,
                value=f"byte 0x{byte} at column {error.start + 1}",
            )  # fmt: skip
            return None

    def _json_records(self) -> Iterator[tuple[int, dict[str, object]]]:
        decode = msgspec.json.Decoder().decode
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    record = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    yield from self._json_record_or_why_not(number, raw)
                    continue
                if isinstance(record, dict):
                    yield number, record
                else:
                    self._no_object(number, record)

    def _json_record_or_why_not(
        self, number: int, raw: bytes
    ) -> Iterator[tuple[int, dict[str, object]]]:
        """A line that the fast and strict parser refuses: Python's own reads a little more, and
        says where it stops."""
        line = self._decoded(number, raw)
        if line is None:
            return
        if not line or line.isspace():
            self.notes.blank_lines += 1
            return
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            at = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            self._bad(
                number, rule="is not valid JSON", fix="write one JSON object a line",
                value=f"{why}{at}"[:200],
            )  # fmt: skip
            return
        if isinstance(record, dict):
            yield number, record
        else:
            self._no_object(number, record)

    def _no_object(self, number: int, value: object) -> None:
        self._bad(
            number, rule="is not a JSON object", fix="write one JSON object a line",
            value=shown(value),
        )  # fmt: skip

    def _csv_records(self) -> Iterator[tuple[int, dict[str, object]]]:
        csv.field_size_limit(CSV_FIELD_LIMIT)
        # A line that is not UTF-8 has been told; an empty stand-in keeps the line numbers right.
        lines = (line if line is not None else "\n" for _, line in self._lines())
        reader = csv.reader(lines, delimiter=self.detected.delimiter, strict=True)
        header: list[str] | None = None
        start = 1
        try:
            for cells in reader:
                line, start = start, reader.line_num + 1
                if not cells:
                    self.notes.blank_lines += 1
                elif header is None:
                    header = [cell.strip() for cell in cells]
                    if not self._header_is_sound(header):
                        return
                elif len(cells) != len(header):
                    self._bad(
                        line, rule="has another number of cells than the header",
                        fix="quote cells that hold the delimiter or line breaks",
                        value=f"{len(cells)} cells, header has {len(header)}",
                    )  # fmt: skip
                else:
                    yield line, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            self._bad(
                start, rule="is not valid CSV", value=str(error),
                fix="close every quote and double quotes inside quoted cells",
            )  # fmt: skip

    def _parquet_records(self) -> Iterator[tuple[int, dict[str, object]]]:
        file = ParquetRows.open(self.path, self._bad)
        if file is not None and self._header_is_sound(file.names, line=0):
            yield from file.records({self.columns.text: "text", self.columns.label: "label"})

    def _header_is_sound(self, header: list[str], *, line: int = 1) -> bool:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            self._bad(
                line, rule="stands twice in the header", fix="give each column its own name",
                field=twice[0], value=f"columns: {', '.join(header)}",
            )  # fmt: skip
        missing = [c for c in (self.columns.text, self.columns.label) if c not in header]
        for column in missing:
            self._missing(line, column, header)
        return not twice and not missing

    def _missing(self, line: int, column: str, seen: list[str]) -> None:
        role = "text" if column == self.columns.text else "label"
        other = self.columns.label if role == "text" else self.columns.text
        candidates = [name for name in seen if name != other]
        common = COMMON_TEXT if role == "text" else COMMON_LABEL
        lowered = {name.lower(): name for name in candidates}
        close = [lowered[name] for name in common if name in lowered]
        close += get_close_matches(column, candidates, n=1)
        hint = close[0] if close else "the column's name"
        self._bad(
            line, rule="is missing", field=column,
            value="columns seen: " + (", ".join(seen[:12]) or "none"),
            fix=f"set dataset.columns.{role}: {hint}",
        )  # fmt: skip

    def _row(self, line: int, record: dict[str, object]) -> Row | None:
        text_column, label_column = self._names
        if text_column not in record or label_column not in record:
            for column in self._names:
                if column not in record:
                    self._missing(line, column, list(record))
            return None
        text = self._text(line, record[text_column])
        label = self._label(line, record[label_column])
        return Row(text, label, line) if text is not None and label is not None else None

    def _text(self, line: int, value: object) -> str | None:
        field = self.columns.text
        if not isinstance(value, str):
            self._bad(
                line, rule="must be text", fix="write text in every row",
                field=field, value=shown(value),
            )  # fmt: skip
            return None
        if not value or value.isspace():
            self._bad(
                line, rule="is empty", fix="remove rows without text or fill them", field=field
            )
            return None
        if not _encodable(value):
            self._bad(
                line, rule="holds half of a surrogate pair", field=field, fix=UTF8_FIX,
                value=shown(value),
            )  # fmt: skip
            return None
        return value

    def _label(self, line: int, value: object) -> str | None:
        if isinstance(value, str) and value in self._sound_labels:
            return value
        field = self.columns.label
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is None or (isinstance(value, str) and not value.strip()):
            self._bad(
                line, rule="has no value", fix="give every row its class", field=field,
                value=shown(value),
            )  # fmt: skip
            return None
        if not isinstance(value, str) or not _encodable(value):
            self._bad(
                line, rule=LABEL_RULE, fix="write the class name as text", field=field,
                value=shown(value),
            )  # fmt: skip
            return None
        trimmed = value.strip()
        if trimmed == value:
            self._sound_labels.add(value)
        else:
            self.notes.trimmed_labels += 1
        return trimmed


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
