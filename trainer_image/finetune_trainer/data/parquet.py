"""Rows of a Parquet file: only the columns that are needed, a few megabytes at a time.

A column has one type, so a wrong one is told once for the file. Rows count from 1.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from finetune_trainer.data.questions import ANSWERS_FIX, ANSWERS_RULE

Tell = Callable[..., None]
"""Tells a problem at a row of the file (0: the file itself): ``rule``, ``fix``, ``field``,
``value``."""

MAGIC = b"PAR1"
LISTS = {
    "messages": ("messages", "{role, content}"), "spans": ("spans", "{start, end, label}"),
    "tokens": ("words", "words"), "tags": ("tags", "tags"), "labels": ("labels", "labels"),
}  # fmt: skip
"""Roles whose column holds lists: of what, and how one is written."""
BATCH_BYTES = 4 * 1024 * 1024
"""Decoded bytes of a batch, as far as the averages of its row group tell."""
BATCH_ROWS = 4096
PAGE_BUFFER = 1024 * 1024
"""Bytes of a column that are read at once. A page is held whole, however large it was written."""


class ParquetRows:
    """An open file; ``names`` are all its columns."""

    def __init__(self, file: pq.ParquetFile, tell: Tell) -> None:
        self.names: list[str] = file.schema_arrow.names
        self._file, self._tell = file, tell

    @classmethod
    def open(cls, path: Path, tell: Tell) -> Self | None:
        """The file, or None when it cannot be read (told)."""
        try:
            # A buffer, and nothing read ahead: otherwise a row group's columns are held whole.
            file = pq.ParquetFile(
                path, buffer_size=PAGE_BUFFER, pre_buffer=False, page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            _tell_unreadable(tell, 0, error)
            return None
        return cls(file, tell)

    def first(self, name: str) -> object:
        """The first value of a column; None when there is none that can be read."""
        try:
            with self._file as file:
                batches = file.iter_batches(1, columns=[name])
                first = next((batch for batch in batches if batch.num_rows), None)
                return first.column(0)[0].as_py() if first is not None else None
        except (pa.ArrowException, OSError, UnicodeDecodeError, IndexError):
            return None

    def records(self, roles: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row number and values of every row. ``roles`` gives each column to read its role in
        ``spec.dataset.columns``."""
        schema = self._file.schema_arrow
        wrong = [self._refused(name, role, schema.field(name)) for name, role in roles.items()]
        if any(wrong):
            return
        row = 0
        try:
            for batch in self._batches(list(roles)):
                yield from self._rows(batch, row + 1)
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            _tell_unreadable(self._tell, row + 1, error)

    def _refused(self, name: str, role: str, field: pa.Field) -> bool:
        """Whether a column's type can never hold its role (told)."""
        kind = _plain(field.type)
        if role in LISTS:
            sound, rule = _is_list(kind), f"must be a list of {LISTS[role][0]}"
        elif role == "answers":
            sound, rule = _is_list(kind) or kinds.is_struct(kind), ANSWERS_RULE
        elif role == "label":
            sound, rule = _is_text(kind) or kinds.is_integer(kind), "must be text or a whole number"
        elif role == "judgement":
            sound = kinds.is_boolean(kind) or kinds.is_integer(kind) or _is_text(kind)
            rule = "must be true or false"
        elif role == "number":
            sound, rule = kinds.is_floating(kind) or kinds.is_integer(kind), "must be a number"
        else:
            sound, rule = _is_text(kind), "must be text"
        if not (sound or kinds.is_null(kind)):
            value = f"the column is {field.type}"
            self._tell(0, rule=rule, fix=_fix(kind, role), field=name, value=value[:80])
            return True
        return False

    def _batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        with self._file as file:
            for group in range(file.num_row_groups):
                rows = self._batch_rows(group)
                yield from file.iter_batches(rows, row_groups=[group], columns=names)

    def _batch_rows(self, group: int) -> int:
        """Rows that make a batch of a few megabytes: a row group's texts may be long.

        Goes by all columns: pyarrow aborts the process when asked for the size of an encrypted one.
        """
        found = self._file.metadata.row_group(group)
        fitting = BATCH_BYTES * found.num_rows // max(1, found.total_byte_size)
        return max(1, min(BATCH_ROWS, fitting))

    def _rows(self, batch: pa.RecordBatch, first: int) -> Iterator[tuple[int, dict[str, Any]]]:
        names = batch.schema.names
        try:
            columns = [column.to_pylist() for column in batch.columns]
        except UnicodeDecodeError:
            yield from self._one_by_one(batch, first)
            return
        for row, values in enumerate(zip(*columns, strict=True), first):
            yield row, dict(zip(names, values, strict=True))

    def _one_by_one(
        self, batch: pa.RecordBatch, first: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows of a batch in which some text is not UTF-8 (told, and left out)."""
        for number in range(batch.num_rows):
            record = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    record[name] = column[number].as_py()
                except UnicodeDecodeError as error:
                    self._tell(
                        first + number, rule="is not UTF-8", field=name,
                        fix="write the column's text as UTF-8",
                        value=f"byte 0x{error.object[error.start]:02x}",
                    )  # fmt: skip
            if len(record) == batch.num_columns:
                yield first + number, record


def _tell_unreadable(tell: Tell, row: int, error: Exception) -> None:
    why = str(error).split("\n", 1)[0][:160]
    if "crypt" in why:
        tell(0, rule="is an encrypted Parquet file", fix="write it without encryption", value=why)
        return
    rule = "is a damaged or cut off Parquet file" if row == 0 else "cannot be read from here on"
    tell(row, rule=rule, fix="write the Parquet file again, or copy it again", value=why)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, whatever encodes or names them."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return _plain(kind.value_type) if kinds.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def _is_list(kind: pa.DataType) -> bool:
    return kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)


def _fix(kind: pa.DataType, role: str) -> str:
    if role in LISTS:
        return f"write a list of {LISTS[role][1]} in every row"
    if role == "answers":
        return ANSWERS_FIX
    if role == "number":
        return "cast the column to numbers, or set dataset.labels: Single for names of classes"
    if kinds.is_nested(kind):
        return "write one value a row: nested columns are not read"
    if kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind):
        return "write the column as string, not as binary"
    if role == "label" and kinds.is_floating(kind):
        return "cast the column to whole numbers or text; fill or remove rows without a value"
    return "write the class name as text" if role == "label" else "write text in every row"
