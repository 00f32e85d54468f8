"""Records of a file, one a row: what a JSON line or the cells under a header say.

Whatever cannot be read goes to ``Problems`` with file and line.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_api.dataset import DatasetFormat
from finetune_trainer.data.detect import UTF8_MARK, Detected
from finetune_trainer.data.layouts import UTF8_FIX
from finetune_trainer.data.problems import Problems, shown

CSV_FIELD_LIMIT = 16 * 1024 * 1024
"""Characters of one CSV cell; a missing quote must not swallow a whole file."""

Record = dict[str, Any]


class Reader:
    """Reads one file; ``name`` is what messages call it."""

    def __init__(self, path: Path, name: str, detected: Detected, problems: Problems) -> None:
        self.path, self.name, self.detected = path, name, detected
        self.problems = problems
        self.blank_lines = 0

    @property
    def has_header(self) -> bool:
        """Whether all records have the same columns, named once in line 1."""
        return self.detected.format is DatasetFormat.CSV

    def records(self) -> Iterator[tuple[int, Record]]:
        """Line and content of every record that could be read, in file order."""
        return self._csv_records() if self.has_header else self._json_records()

    def tell(self, line: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at a line of this file; 0 is the file itself."""
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
                    self.tell(
                        number, rule="is not UTF-8", fix=UTF8_FIX,
                        value=f"byte 0x{byte} at column {error.start + 1}",
                    )  # fmt: skip
                    yield number, None

    def _json_records(self) -> Iterator[tuple[int, Record]]:
        for number, line in self._lines():
            if line is None:
                continue
            if line.isspace() or not line:
                self.blank_lines += 1
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                at = f"column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                self.tell(
                    number, rule="is not valid JSON", fix="write one JSON object a line",
                    value=f"{why} at {at}",
                )  # fmt: skip
                continue
            if not isinstance(record, dict):
                self.tell(
                    number, rule="is not a JSON object", fix="write one JSON object a line",
                    value=shown(record),
                )  # fmt: skip
                continue
            yield number, record

    def _csv_records(self) -> Iterator[tuple[int, Record]]:
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
                    if not self._header_is_sound(header):
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

    def _header_is_sound(self, header: list[str]) -> bool:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            self.tell(
                1, rule="stands twice in the header", fix="give each column its own name",
                field=twice[0], value=f"columns: {', '.join(header)}",
            )  # fmt: skip
        return not twice
