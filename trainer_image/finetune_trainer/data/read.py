"""Records of a file, one a row: what a JSON line, a CSV line or a Parquet row says.

Whatever cannot be read goes to ``Problems`` with file and line.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from finetune_api.dataset import DatasetFormat
from finetune_trainer.data.detect import UTF8_MARK, Detected
from finetune_trainer.data.layouts import UTF8_FIX
from finetune_trainer.data.parquet import ParquetRows
from finetune_trainer.data.problems import Problems, shown

CSV_FIELD_LIMIT = 16 * 1024 * 1024
"""Characters of one CSV cell; a missing quote must not swallow a whole file."""

Record = dict[str, Any]
Numbered = tuple[int, Record]
"""Line (or row, where a file has no lines) and content of a record."""
Fit = Callable[[list[str], int], Mapping[str, str] | None]
"""Asked once about the columns that a header at a line names: the role of each one that is needed,
or None when they do not do (told)."""


class Reader:
    """Reads one file; ``name`` is what messages call it."""

    def __init__(self, path: Path, name: str, detected: Detected, problems: Problems) -> None:
        self.path, self.name, self.detected = path, name, detected
        self.problems = problems
        self.blank_lines = 0
        if detected.format is DatasetFormat.PARQUET:
            problems.files_of_rows.add(name)

    @property
    def has_header(self) -> bool:
        """Whether all records have the same columns, named once."""
        return self.detected.format in (DatasetFormat.CSV, DatasetFormat.PARQUET)

    def records(self, fit: Fit) -> Iterator[Numbered]:
        """Every record that could be read, in file order. ``fit`` is for files with a header."""
        match self.detected.format:
            case DatasetFormat.PARQUET:
                return self._parquet_records(fit)
            case DatasetFormat.CSV:
                return self._csv_records(fit)
            case _:
                return self._json_records()

    def tell(self, line: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at a line of this file; 0 is the file itself."""
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
            self.tell(
                number, rule="is not UTF-8", fix=UTF8_FIX,
                value=f"byte 0x{byte} at column {error.start + 1}",
            )  # fmt: skip
            return None

    def _json_records(self) -> Iterator[Numbered]:
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

    def _json_record_or_why_not(self, number: int, raw: bytes) -> Iterator[Numbered]:
        """A line that the fast and strict parser refuses: Python's own reads a little more, and
        says where it stops."""
        line = self._decoded(number, raw)
        if line is None:
            return
        if not line or line.isspace():
            self.blank_lines += 1
            return
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            at = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            self.tell(
                number, rule="is not valid JSON", fix="write one JSON object a line",
                value=f"{why}{at}"[:200],
            )  # fmt: skip
            return
        if isinstance(record, dict):
            yield number, record
        else:
            self._no_object(number, record)

    def _no_object(self, number: int, value: object) -> None:
        self.tell(
            number, rule="is not a JSON object", fix="write one JSON object a line",
            value=shown(value),
        )  # fmt: skip

    def _csv_records(self, fit: Fit) -> Iterator[Numbered]:
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
                    self.blank_lines += 1
                elif header is None:
                    header = [cell.strip() for cell in cells]
                    if not self._is_sound(header, 1) or fit(header, 1) is None:
                        return
                elif len(cells) != len(header):
                    self.tell(
                        line, rule="has another number of cells than the header",
                        fix="quote cells that hold the delimiter or line breaks",
                        value=f"{len(cells)} cells, header has {len(header)}",
                    )  # fmt: skip
                else:
                    yield line, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            self.tell(
                start, rule="is not valid CSV", value=str(error),
                fix="close every quote and double quotes inside quoted cells",
            )  # fmt: skip

    def _parquet_records(self, fit: Fit) -> Iterator[Numbered]:
        file = ParquetRows.open(self.path, self.tell)
        if file is not None and self._is_sound(file.names, 0):
            roles = fit(file.names, 0)
            if roles is not None:
                yield from file.records(roles)

    def _is_sound(self, header: list[str], line: int) -> bool:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            self.tell(
                line, rule="stands twice in the header", fix="give each column its own name",
                field=twice[0], value=f"columns: {', '.join(header)}",
            )  # fmt: skip
        return not twice
