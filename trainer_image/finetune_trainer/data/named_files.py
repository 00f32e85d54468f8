"""Files that the rows of a data file name: fetched to stand beside it as they do in storage."""

import hashlib
from collections.abc import Sequence

from finetune_api.dataset import DatasetFormat
from finetune_api.learning import Media
from finetune_trainer.data.detect import detect
from finetune_trainer.data.gather import DataFile
from finetune_trainer.data.media import is_below
from finetune_trainer.data.problems import Problems
from finetune_trainer.data.read import Reader
from finetune_trainer.storage.manifest import FileRecord
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.transfer import download

OF_COLUMNS = (DatasetFormat.PARQUET, DatasetFormat.ARROW)
"""Formats that may hold the files' bytes themselves."""


def fetch_named(
    store: ObjectStore, uri: str, file: DataFile, asked: DatasetFormat, column: str
) -> list[FileRecord]:
    """The files that a data file below ``uri`` names in a column, as far as they exist; what is
    missing is told when rows are checked."""
    names = _named(file, asked, column)
    if not names:
        return []
    below = file.name.rpartition("/")[0]
    base = uri if uri.endswith("/") else uri.rpartition("/")[0] + "/"
    base += f"{below}/" if below else ""
    there = {item.key_relative for item in store.list(base)}
    return download(store, base, file.path.parent, select=(names & there).__contains__)


def _named(file: DataFile, asked: DatasetFormat, column: str) -> set[str]:
    """Paths below the data file's folder; nothing is told."""
    found = detect(file.path, asked)
    if found.problem:
        return set()
    reader = Reader(file.path, file.name, found, Problems())
    roles = {column: str(Media.IMAGE)}
    if found.format in OF_COLUMNS:
        if column not in reader.columns():
            return set()
        first = reader.first(column, roles)
        if not isinstance(first, str) and _path(first) is None:
            return set()
    return {
        path for record in reader.records(roles)
        if (path := _path(record.get(column))) is not None and is_below(path)
    }  # fmt: skip


def _path(value: object) -> str | None:
    """The path that stands for a file's bytes."""
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else None
    return value if isinstance(value, str) else None


def digest(records: Sequence[FileRecord]) -> str:
    """One hash of many files: of their paths and hashes, in order."""
    lines = sorted(f"{record.path} {record.sha256}\n" for record in records)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def folder_name(uri: str) -> str:
    """What messages call a folder of media."""
    return uri.rstrip("/").rpartition("/")[2] + "/"
