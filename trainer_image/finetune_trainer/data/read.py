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

from finetune_api.job import Columns, DatasetFormat
from finetune_trainer.data.detect import NO_ROWS, UTF8_MARK, Detected
from finetune_trainer.data.problems import Problems, shown

CSV_FIELD_LIMIT = 16 * 1024 * 1024
"""Characters of one CSV cell; a missing quote must not swallow a whole file."""

LABEL_RULE = "must be text or a whole number"
NO_ROWS_FIX = "write rows into it, or correct the uri in the job"
UTF8_FIX = "save the file as UTF-8"
COMMON_TEXT = ("text", "sentence", "content", "body", "message", "input", "review", "document")
COMMON_LABEL = ("label", "labels", "category", "class", "target", "intent", "topic", "tag")


@dataclass(frozen=True, slots=True)
class Row:
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
        self.notes = FileNotes()

    def rows(self) -> Iterator[Row]:
        """Sound rows in file order."""
        before = self.problems.count
        json_lines = self.detected.format is DatasetFormat.JSONL
        for line, record in self._json_records() if json_lines else self._csv_records():
            row = self._row(line, record)
            if row is not None:
                self.notes.rows += 1
                yield row
        if self.notes.rows == 0 and self.problems.count == before:
            self._bad(0, rule=NO_ROWS, fix=NO_ROWS_FIX)

    def _bad(self, line: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        self.problems.add(self.name, line, rule=rule, fix=fix, field=field, value=value)

    def _lines(self) -> Iterator[tuple[int, str | None]]:
        """Decoded lines with their numbers; None where a line is not UTF-8 (told)."""
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                data = raw.removeprefix(UTF8_MARK) if number == 1 else raw
                try:
                    yield number, data.decode("utf-8")
                except UnicodeDecodeError as error:
                    byte = data[error.start : error.start + 1].hex()
                    self._bad(
                        number, rule="is not UTF-8", fix=UTF8_FIX,
                        value=f"byte 0x{byte} at column {error.start + 1}",
                    )  # fmt: skip
                    yield number, None

    def _json_records(self) -> Iterator[tuple[int, dict[str, object]]]:
        for number, line in self._lines():
            if line is None:
                continue
            if line.isspace() or not line:
                self.notes.blank_lines += 1
                continue
            try:
                record = json.loads(line.rstrip())
            except ValueError as error:
                at = f"column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                self._bad(
                    number, rule="is not valid JSON", fix="write one JSON object a line",
                    value=f"{why} at {at}",
                )  # fmt: skip
                continue
            if not isinstance(record, dict):
                self._bad(
                    number, rule="is not a JSON object", fix="write one JSON object a line",
                    value=shown(record),
                )  # fmt: skip
                continue
            yield number, record

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

    def _header_is_sound(self, header: list[str]) -> bool:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            self._bad(
                1, rule="stands twice in the header", fix="give each column its own name",
                field=twice[0], value=f"columns: {', '.join(header)}",
            )  # fmt: skip
        missing = [c for c in (self.columns.text, self.columns.label) if c not in header]
        for column in missing:
            self._missing(1, column, header)
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
        missing = [c for c in (self.columns.text, self.columns.label) if c not in record]
        for column in missing:
            self._missing(line, column, list(record))
        if missing:
            return None
        text = self._text(line, record[self.columns.text])
        label = self._label(line, record[self.columns.label])
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
        self.notes.trimmed_labels += trimmed != value
        return trimmed


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
