"""Records of a file, one a row: a JSON line, the cells under a header, a row of Parquet columns.

Whatever cannot be read goes to ``Problems`` with file and place.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from finetune_api.dataset import DatasetFormat
from finetune_trainer.data.detect import UTF8_MARK, Detected
from finetune_trainer.data.parquet import ParquetRows
from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import UTF8_FIX

CSV_FIELD_LIMIT = 16 * 1024 * 1024
"""Characters of one CSV cell; a missing quote must not swallow a whole file."""

Record = dict[str, Any]


class Reader:
    """Reads one file; ``name`` is what messages call it.

    ``line`` is where the present record stands: its line, in Parquet its row, both from 1.
    """

    def __init__(self, path: Path, name: str, detected: Detected, problems: Problems) -> None:
        self.path, self.name, self.detected = path, name, detected
        self.problems = problems
        self.line = 0
        self.blank_lines = 0
        if detected.format is DatasetFormat.PARQUET:
            problems.files_of_rows.add(name)

    @property
    def header_line(self) -> int | None:
        """Where the columns of all records are named, 0 being the file; None: by each record."""
        return {DatasetFormat.CSV: 1, DatasetFormat.PARQUET: 0}.get(self.detected.format)

    def columns(self) -> list[str]:
        """Columns of the first record that can be read; nothing is told."""
        unheard = Reader(self.path, self.name, self.detected, Problems())
        if self.detected.format is DatasetFormat.PARQUET:
            file = ParquetRows.open(self.path, unheard.tell_at)
            return file.names if file is not None else []
        return next((list(record) for record in unheard.records({})), [])

    def first(self, name: str) -> object:
        """What stands in a column of the first record that can be read; nothing is told."""
        unheard = Reader(self.path, self.name, self.detected, Problems())
        if self.detected.format is DatasetFormat.PARQUET:
            file = ParquetRows.open(self.path, unheard.tell_at)
            return file.first(name) if file is not None else None
        return next((record.get(name) for record in unheard.records({})), None)

    def records(self, roles: Mapping[str, str]) -> Iterator[Record]:
        """Every record that could be read, in file order.

        ``roles`` names the columns that are needed, and what each is for.
        """
        match self.detected.format:
            case DatasetFormat.PARQUET:
                return self._parquet_records(roles)
            case DatasetFormat.CSV:
                return self._csv_records()
            case _:
                return self._json_records()

    def tell(self, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at the present record."""
        self.problems.add(self.name, self.line, rule=rule, fix=fix, field=field, value=value)

    def tell_at(self, line: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at a line (or row) of this file; 0 is the file itself."""
        self.problems.add(self.name, line, rule=rule, fix=fix, field=field, value=value)

    def _lines(self) -> Iterator[str]:
        """Decoded lines; an empty stand-in for one that is not UTF-8 (told)."""
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = self._decoded(number, raw)
                yield line if line is not None else "\n"

    def _decoded(self, number: int, raw: bytes) -> str | None:
        data = raw.removeprefix(UTF8_MARK) if number == 1 else raw
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = data[error.start : error.start + 1].hex()
            self.tell_at(
                number, rule="is not UTF-8", fix=UTF8_FIX,
                value=f"byte 0x{byte} at column {error.start + 1}",
            )  # fmt: skip
            return None

    def _json_records(self) -> Iterator[Record]:
        decode = msgspec.json.Decoder().decode
        with self.path.open("rb") as file:
            for self.line, raw in enumerate(file, 1):
                try:
                    record = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    record = self._json_or_why_not(raw)
                    if record is None:
                        continue
                if isinstance(record, dict):
                    yield record
                else:
                    self.tell(
                        rule="is not a JSON object", fix="write one JSON object a line",
                        value=shown(record),
                    )  # fmt: skip

    def _json_or_why_not(self, raw: bytes) -> Any:
        """A line that the fast and strict parser refuses. Python's own reads a little more, and
        says where it stops (told, and None)."""
        line = self._decoded(self.line, raw)
        if line is None:
            return None
        if not line or line.isspace():
            self.blank_lines += 1
            return None
        try:
            return json.loads(line.rstrip())
        except (ValueError, RecursionError) as error:
            at = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            self.tell(
                rule="is not valid JSON", fix="write one JSON object a line", value=f"{why}{at}"
            )
            return None

    def _parquet_records(self, roles: Mapping[str, str]) -> Iterator[Record]:
        file = ParquetRows.open(self.path, self.tell_at)
        if file is not None and self._header_is_sound(file.names):
            for self.line, record in file.records(roles):
                yield record

    def _csv_records(self) -> Iterator[Record]:
        csv.field_size_limit(CSV_FIELD_LIMIT)
        reader = csv.reader(self._lines(), delimiter=self.detected.delimiter, strict=True)
        header: list[str] | None = None
        start = 1
        try:
            for cells in reader:
                self.line, start = start, reader.line_num + 1
                if not cells:
                    self.blank_lines += 1
                elif header is None:
                    header = [cell.strip() for cell in cells]
                    if not self._header_is_sound(header):
                        return
                elif len(cells) != len(header):
                    self.tell(
                        rule="has another number of cells than the header",
                        fix="quote cells that hold the delimiter or line breaks",
                        value=f"{len(cells)} cells, header has {len(header)}",
                    )  # fmt: skip
                else:
                    yield dict(zip(header, cells, strict=True))
        except csv.Error as error:
            self.tell_at(
                start, rule="is not valid CSV", value=str(error),
                fix="close every quote and double quotes inside quoted cells",
            )  # fmt: skip

    def _header_is_sound(self, header: list[str]) -> bool:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            self.tell_at(
                self.header_line or 0, rule="stands twice in the header", field=twice[0],
                fix="give each column its own name", value=f"columns: {', '.join(header)}",
            )  # fmt: skip
        return not twice
