"""Records of a file, one a row: a JSON object, the cells under a header, a row of typed columns, a
line or a file of plain text.

Whatever cannot be read goes to ``Problems`` with file and place.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from finetune_api.dataset import DatasetFormat
from finetune_trainer.data import label_studio, plain_text
from finetune_trainer.data.arrow import ArrowRows
from finetune_trainer.data.columns import ColumnFile, Tell
from finetune_trainer.data.detect import UTF8_MARK, Detected
from finetune_trainer.data.json_document import JsonRows
from finetune_trainer.data.parquet import ParquetRows
from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import UTF8_FIX

CSV_FIELD_LIMIT = 16 * 1024 * 1024
"""Characters of one CSV cell; a missing quote must not swallow a whole file."""

HEADERS = {
    DatasetFormat.CSV: 1, DatasetFormat.PARQUET: 0, DatasetFormat.ARROW: 0, DatasetFormat.TEXT: 0,
    DatasetFormat.LINES: 0,
}  # fmt: skip
"""Where a file names its columns: at a line, or 0 when it is the file itself that does."""
OF_ROWS = (DatasetFormat.PARQUET, DatasetFormat.ARROW, DatasetFormat.JSON)
"""Formats whose rows have no lines."""

COLUMN_FILES: dict[DatasetFormat, Callable[[Path, Tell], ColumnFile | None]] = {
    DatasetFormat.PARQUET: ParquetRows.open, DatasetFormat.ARROW: ArrowRows.open,
}  # fmt: skip

Record = dict[str, Any]


class Reader:
    """Reads one file; ``name`` is what messages call it.

    ``line`` is where the present record stands: its line, or its row in a file without lines, both
    from 1.
    """

    def __init__(self, path: Path, name: str, detected: Detected, problems: Problems) -> None:
        self.path, self.name, self.detected = path, name, detected
        self.problems = problems
        self.line = 0
        self.blank_lines = 0
        self.left_out: Counter[str] = Counter()
        """Records without anything to learn, by reason."""
        if detected.written in OF_ROWS:
            problems.files_of_rows.add(name)

    @property
    def header_line(self) -> int | None:
        """Where the columns of all records are named, 0 being the file; None: by each record."""
        return HEADERS.get(self.detected.format) if self.detected.format else None

    def columns(self) -> list[str]:
        """Columns of the first record that can be read; nothing is told."""
        unheard = Reader(self.path, self.name, self.detected, Problems())
        if self.detected.format in COLUMN_FILES:
            file = unheard._open_columns()
            return file.names if file is not None else []
        return next((list(record) for record in unheard.records({})), [])

    def first(self, name: str, roles: Mapping[str, str]) -> object:
        """What stands in a column of the first record that can be read; nothing is told."""
        unheard = Reader(self.path, self.name, self.detected, Problems())
        if self.detected.format in COLUMN_FILES:
            file = unheard._open_columns()
            return file.first(name) if file is not None else None
        return next((record.get(name) for record in unheard.records(roles)), None)

    def records(self, roles: Mapping[str, str]) -> Iterator[Record]:
        """Every record that could be read, in file order.

        ``roles`` names the columns that are needed, and what each is for.
        """
        if self.detected.format is DatasetFormat.LABEL_STUDIO:
            raw = ((self.line, record) for record in self._written_records({}))
            export = label_studio.Export(roles, self.tell_at, self.left_out)
            return self._placed(export.records(raw))
        return self._written_records(roles)

    def _written_records(self, roles: Mapping[str, str]) -> Iterator[Record]:
        match self.detected.written:
            case DatasetFormat.PARQUET | DatasetFormat.ARROW:
                return self._column_records(roles)
            case DatasetFormat.CSV:
                return self._csv_records()
            case DatasetFormat.JSON:
                return self._placed(JsonRows(self.path, self.tell_at).records())
            case DatasetFormat.TEXT:
                return self._placed(plain_text.of_file(self.path, self._lines(), self.tell_at))
            case DatasetFormat.LINES:
                return self._placed(plain_text.of_lines(self._lines()))
            case _:
                return self._json_records(roles)

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

    def _placed(self, numbered: Iterator[tuple[int, Record]]) -> Iterator[Record]:
        for self.line, record in numbered:
            yield record

    def _json_records(self, roles: Mapping[str, str]) -> Iterator[Record]:
        decode = msgspec.json.Decoder().decode
        keys = [json.dumps(name, ensure_ascii=False).encode() for name in roles]
        with self.path.open("rb") as file:
            for self.line, raw in enumerate(file, 1):
                try:
                    record = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    record = self._json_or_why_not(raw)
                    if record is None:
                        continue
                if isinstance(record, dict):
                    # Parsers keep the last of two values. A row of no more colons than names has
                    # each name once; of the others those that are needed are looked for.
                    is_plain = raw.count(b":") == len(record)
                    if is_plain or not _one_twice(keys, raw) or self._is_said_once(raw):
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
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            if isinstance(error, json.JSONDecodeError):
                why = f"{error.msg.removesuffix(' at')} at column {error.colno}"
            self.tell(rule="is not valid JSON", fix="write one JSON object a line", value=why)
            return None

    def _is_said_once(self, raw: bytes) -> bool:
        """Does a row have each column once? Told when not."""
        pairs = json.loads(raw.removeprefix(UTF8_MARK), object_pairs_hook=list)
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            self.tell(
                rule="stands twice in the row", fix="give each column its own name", field=twice
            )
        return twice is None

    def _open_columns(self) -> ColumnFile | None:
        assert self.detected.format is not None
        return COLUMN_FILES[self.detected.format](self.path, self.tell_at)

    def _column_records(self, roles: Mapping[str, str]) -> Iterator[Record]:
        file = self._open_columns()
        if file is not None and self._header_is_sound(file.names):
            yield from self._placed(file.records(roles))

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


def _one_twice(keys: list[bytes], raw: bytes) -> bool:
    return any(raw.count(key) > 1 for key in keys)
