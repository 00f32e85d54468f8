"""How a data file is written: from its name, confirmed by its first bytes."""

from dataclasses import dataclass
from pathlib import Path

from finetune_api.dataset import DatasetFormat
from finetune_trainer.data.parquet import MAGIC

NAMES = {
    ".jsonl": DatasetFormat.JSONL,
    ".ndjson": DatasetFormat.JSONL,
    ".json": DatasetFormat.JSONL,
    ".csv": DatasetFormat.CSV,
    ".tsv": DatasetFormat.CSV,
    ".parquet": DatasetFormat.PARQUET,
    ".pq": DatasetFormat.PARQUET,
}
"""Names of data files below a prefix; others are listed in the report as skipped."""

UNREADABLE = {
    b"PARE": "is an encrypted Parquet file",
    b"ARROW1\x00\x00": "is an Arrow (Feather) file",
    b"\x1f\x8b": "is compressed with gzip",
    b"PK\x03\x04": "is a ZIP archive (or a spreadsheet)",
    b"\xff\xfe": "is UTF-16 text",
    b"\xfe\xff": "is UTF-16 text",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd",
}
NO_ROWS = "holds no rows"
NO_ROWS_FIX = "write rows into it, or correct the uri in the job"
FORMAT_FIX = "convert it to JSONL or CSV (both in UTF-8) or to Parquet"
UTF8_MARK = b"\xef\xbb\xbf"
HEAD_BYTES = 65536


@dataclass(frozen=True)
class Detected:
    """What a file is, and why; ``problem`` when it cannot be read at all."""

    format: DatasetFormat | None
    reason: str
    delimiter: str = ","
    problem: str = ""


def is_data_name(name: str) -> bool:
    """Is a file below a prefix meant as data? Hidden files and markers are not."""
    base = name.rsplit("/", 1)[-1]
    return not base.startswith((".", "_")) and Path(base).suffix.lower() in NAMES


def detect(path: Path, asked: DatasetFormat) -> Detected:
    """The format of a file: the user's word, else its content, else its name."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for magic, what in UNREADABLE.items():
        if head.startswith(magic):
            return Detected(None, what, problem=what)
    if head.startswith(MAGIC) or asked is DatasetFormat.PARQUET:
        return _parquet(head, asked)
    text = head.removeprefix(UTF8_MARK).lstrip()
    if not text:
        return Detected(None, "empty", problem=NO_ROWS)
    first_line = text.split(b"\n", 1)[0]
    if asked is not DatasetFormat.AUTO:
        return Detected(asked, "as asked for", _delimiter(first_line))
    if text.startswith(b"{"):
        return Detected(DatasetFormat.JSONL, "its first line starts with {")
    if text.startswith(b"["):
        return Detected(
            None, "a JSON array", problem="is one JSON array; JSONL has one object a line"
        )
    delimiter = _delimiter(first_line)
    by_name = NAMES.get(path.suffix.lower())
    if by_name is DatasetFormat.JSONL:
        return Detected(by_name, f"its name ends with {path.suffix}")
    if by_name is DatasetFormat.CSV or delimiter.encode() in first_line:
        return Detected(DatasetFormat.CSV, f"header row with delimiter {delimiter!r}", delimiter)
    return Detected(
        None, "unknown", problem="is none of JSONL (lines of {…}), CSV (a header row) and Parquet"
    )


def _parquet(head: bytes, asked: DatasetFormat) -> Detected:
    """A Parquet file that may be one, or a file that was to be one and is not."""
    if not head:
        return Detected(None, "empty", problem=NO_ROWS)
    if not head.startswith(MAGIC):
        return Detected(None, "no Parquet", problem="is no Parquet file, as dataset.format says")
    if asked in (DatasetFormat.AUTO, DatasetFormat.PARQUET):
        return Detected(DatasetFormat.PARQUET, "its first bytes are PAR1")
    return Detected(None, "Parquet", problem=f"is a Parquet file, and dataset.format is {asked}")


def _delimiter(first_line: bytes) -> str:
    """The most frequent of the usual delimiters in the header row."""
    return max(",;\t", key=lambda delimiter: first_line.count(delimiter.encode()))
