"""Rows of a Parquet file: only the columns that are needed, a few megabytes at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from finetune_trainer.data.columns import READ_ERRORS, Tell, fit, rows_of

MAGIC = b"PAR1"
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
        except READ_ERRORS as error:
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
        except (*READ_ERRORS, UnicodeDecodeError, IndexError):
            return None

    def records(self, roles: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row number and values of every row. ``roles`` gives each column to read its role in
        ``spec.dataset.columns``."""
        if not fit(self._file.schema_arrow, roles, self._tell):
            return
        row = 0
        try:
            for batch in self._batches(list(roles)):
                yield from rows_of(batch, row + 1, self._tell)
                row += batch.num_rows
        except READ_ERRORS as error:
            _tell_unreadable(self._tell, row + 1, error)

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


def _tell_unreadable(tell: Tell, row: int, error: Exception) -> None:
    why = str(error).split("\n", 1)[0][:160]
    if "crypt" in why:
        tell(0, rule="is an encrypted Parquet file", fix="write it without encryption", value=why)
        return
    rule = "is a damaged or cut off Parquet file" if row == 0 else "cannot be read from here on"
    tell(row, rule=rule, fix="write the Parquet file again, or copy it again", value=why)
