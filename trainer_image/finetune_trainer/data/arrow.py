"""Rows of an Arrow file (IPC): as a file with a footer, or as a stream, which `datasets` saves.

The file is mapped, not read; what it says of itself is checked before any row is taken from it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.types as kinds

from finetune_trainer.data.columns import READ_ERRORS, Tell, fit, rows_of

MAGIC = b"ARROW1\x00\x00"
STREAM_MAGIC = b"\xff\xff\xff\xff"
"""The continuation mark of a stream's first message."""
SLICE_BYTES = 4 * 1024 * 1024
"""Bytes of the rows that are made Python values at once."""


class ArrowRows:
    """An open file; ``names`` are all its columns."""

    def __init__(self, file: Any, tell: Tell) -> None:
        self.names: list[str] = file.schema.names
        self._file, self._tell = file, tell

    @classmethod
    def open(cls, path: Path, tell: Tell) -> Self | None:
        """The file, or None when it cannot be read (told)."""
        try:
            source = pa.memory_map(str(path))
            is_file = source.read(len(MAGIC)) == MAGIC
            source.seek(0)
            return cls(pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source), tell)
        except READ_ERRORS as error:
            _tell_unreadable(tell, 0, error)
            return None

    def first(self, name: str) -> object:
        """The first value of a column; None when there is none that can be read."""
        try:
            for batch in self._batches([name]):
                if batch.num_rows:
                    return batch.column(0)[0].as_py()
        except (*READ_ERRORS, UnicodeDecodeError):
            pass
        return None

    def records(self, roles: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row number and values of every row. ``roles`` gives each column to read its role in
        ``spec.dataset.columns``."""
        if not fit(self._file.schema, roles, self._tell):
            return
        row = 0
        try:
            for batch in self._batches(list(roles)):
                yield from rows_of(batch, row + 1, self._tell)
                row += batch.num_rows
        except READ_ERRORS as error:
            _tell_unreadable(self._tell, row + 1, error)

    def _batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        for whole in self._whole_batches():
            batch = whole.select(names)
            for column in batch.columns:
                _as_bytes(column).validate(full=True)
            rows = max(1, SLICE_BYTES * batch.num_rows // max(1, batch.nbytes))
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def _whole_batches(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._file, pa.ipc.RecordBatchFileReader):
            for number in range(self._file.num_record_batches):
                yield self._file.get_batch(number)
        else:
            yield from self._file


def _as_bytes(column: pa.Array) -> pa.Array:
    """The column for a check of its offsets: a text that is not UTF-8 is told with its row."""
    if kinds.is_string(column.type):
        return column.view(pa.binary())
    return column.view(pa.large_binary()) if kinds.is_large_string(column.type) else column


def _tell_unreadable(tell: Tell, row: int, error: Exception) -> None:
    rule = "is a damaged or cut off Arrow file" if row == 0 else "cannot be read from here on"
    why = str(error).split("\n", 1)[0][:160]
    tell(row, rule=rule, fix="write the Arrow file again, or copy it again", value=why)
