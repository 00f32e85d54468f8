"""How a data file is written: from its name, confirmed by its first bytes."""

import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from finetune_api.dataset import DatasetFormat
from finetune_trainer.data import arrow, label_studio, parquet

NAMES = {
    ".jsonl": DatasetFormat.JSONL,
    ".ndjson": DatasetFormat.JSONL,
    ".json": DatasetFormat.JSON,
    ".csv": DatasetFormat.CSV,
    ".tsv": DatasetFormat.CSV,
    ".parquet": DatasetFormat.PARQUET,
    ".pq": DatasetFormat.PARQUET,
    ".arrow": DatasetFormat.ARROW,
    ".feather": DatasetFormat.ARROW,
}
"""Names of data files below a prefix; others are listed in the report as skipped."""
TEXT_NAMES = (".txt", ".text", ".md")
"""Names of plain texts below a prefix, which are data where texts are asked for."""
SIDE_FILES = frozenset({"dataset_info.json", "dataset_dict.json", "state.json"})
"""What `datasets` saves beside its Arrow files."""
BINARY = {
    parquet.MAGIC: DatasetFormat.PARQUET,
    arrow.MAGIC: DatasetFormat.ARROW,
    arrow.STREAM_MAGIC: DatasetFormat.ARROW,
}
"""First bytes of formats that are no text."""

UNREADABLE = {
    b"PARE": "is an encrypted Parquet file",
    b"\x1f\x8b": "is compressed with gzip",
    b"FEA1": "is a Feather file of version 1",
    b"PK\x03\x04": "is a ZIP archive (or a spreadsheet)",
    b"\xff\xfe": "is UTF-16 text",
    b"\xfe\xff": "is UTF-16 text",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd",
}
NO_ROWS = "holds no rows"
NO_ROWS_FIX = "write rows into it, or correct the uri in the job"
FORMAT_FIX = "unpack or convert it: JSONL, JSON and CSV in UTF-8, Parquet and Arrow are read"
_A = {DatasetFormat.PARQUET: "a Parquet", DatasetFormat.ARROW: "an Arrow"}
UTF8_MARK = b"\xef\xbb\xbf"
HEAD_BYTES = 65536
FIRST_BYTES = {
    b"PAR1": "its first bytes are PAR1",
    b"ARRO": "its first bytes are ARROW1",
    b"\xff\xff\xff\xff": "its first bytes are those of an Arrow stream",
}


@dataclass(frozen=True)
class Detected:
    """What a file is, and why; ``problem`` when it cannot be read at all. ``within``: how an export
    of Label Studio is written."""

    format: DatasetFormat | None
    reason: str
    delimiter: str = ","
    problem: str = ""
    within: DatasetFormat | None = None

    @property
    def written(self) -> DatasetFormat | None:
        """How records stand in the file."""
        return self.within or self.format


def is_data_name(name: str, suffixes: Container[str]) -> bool:
    """Is a file below a prefix meant as data? Hidden files and markers are not."""
    base = name.rsplit("/", 1)[-1]
    if base.startswith((".", "_")) or base in SIDE_FILES:
        return False
    return Path(base).suffix.lower() in suffixes


def detect(path: Path, asked: DatasetFormat) -> Detected:
    """The format of a file: the user's word, else its content, else its name."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for magic, what in UNREADABLE.items():
        if head.startswith(magic):
            return Detected(None, what, problem=what)
    if asked in BINARY.values() or head.startswith(tuple(BINARY)):
        return _binary(head, asked)
    text = head.removeprefix(UTF8_MARK).lstrip()
    if not text:
        return Detected(None, "empty", problem=NO_ROWS)
    first_line = text.split(b"\n", 1)[0]
    if asked in (DatasetFormat.AUTO, DatasetFormat.LABEL_STUDIO):
        export = _label_studio(text, first_line, asked)
        if export is not None:
            return export
    if asked is not DatasetFormat.AUTO:
        return Detected(asked, "as asked for", _delimiter(first_line))
    suffix = path.suffix.lower()
    if suffix in TEXT_NAMES:
        return Detected(DatasetFormat.TEXT, f"its name ends with {suffix}")
    if text.startswith(b"["):
        return Detected(DatasetFormat.JSON, "it starts with [")
    if text.startswith(b"{"):
        return _objects(text, suffix, path)
    delimiter = _delimiter(first_line)
    by_name = NAMES.get(suffix)
    if by_name in (DatasetFormat.JSONL, DatasetFormat.JSON):
        return Detected(by_name, f"its name ends with {suffix}")
    if by_name is DatasetFormat.CSV or delimiter.encode() in first_line:
        return Detected(DatasetFormat.CSV, f"header row with delimiter {delimiter!r}", delimiter)
    return Detected(
        None, "unknown",
        problem="is none of JSONL (lines of {…}), JSON ([{…}, …]), CSV (a header row), Parquet "
        "and Arrow",
    )  # fmt: skip


def _label_studio(text: bytes, first_line: bytes, asked: DatasetFormat) -> Detected | None:
    """An export of Label Studio: as asked for, or by the fields that only such a file has."""
    delimiter = _delimiter(first_line)
    within = {b"[": DatasetFormat.JSON, b"{": DatasetFormat.JSONL}.get(text[:1], DatasetFormat.CSV)
    if within is DatasetFormat.CSV:
        header = {
            cell.strip(' \t\r"') for cell in first_line.decode(errors="replace").split(delimiter)
        }
        is_export = header >= label_studio.OF_EXPORT
    else:
        is_export = _is_export(text.lstrip(b"[ \t\r\n").decode(errors="replace"))
    if asked is DatasetFormat.LABEL_STUDIO:
        return Detected(asked, "as asked for", delimiter, within=within)
    if is_export:
        reason = f"{within} with the fields of Label Studio"
        return Detected(DatasetFormat.LABEL_STUDIO, reason, delimiter, within=within)
    return None


def _is_export(text: str) -> bool:
    """Is the first object of a text a task, or a row of an annotation? One that is longer than what
    was read is looked through for the fields of a task."""
    try:
        first, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return all(f'"{name}":' in text for name in ("annotations", "was_cancelled", "data"))
    if not isinstance(first, dict):
        return False
    return label_studio.is_task(first) or first.keys() >= label_studio.OF_EXPORT


def _objects(text: bytes, suffix: str, path: Path) -> Detected:
    """A text that starts with an object: of a row a line, or of the whole document."""
    first_line, line_end, rest = text.partition(b"\n")
    if NAMES.get(suffix) is DatasetFormat.JSON and not (line_end or _is_one_line(path)):
        return Detected(DatasetFormat.JSONL, "it has several long lines, the first starts with {")
    if NAMES.get(suffix) is DatasetFormat.JSON:
        try:
            document = json.loads(first_line)
        except (ValueError, RecursionError):
            return Detected(DatasetFormat.JSON, "its first line holds no whole object")
        lists = [value for value in document.values() if isinstance(value, list)]
        if not rest.strip() and any(isinstance(rows[0], dict) for rows in lists if rows):
            return Detected(DatasetFormat.JSON, "it is one object with a list of rows")
    return Detected(DatasetFormat.JSONL, "its first line starts with {")


def _is_one_line(path: Path) -> bool:
    """Does nothing but space follow the first line? Read a piece at a time: it may be long."""
    ended = False
    with path.open("rb") as file:
        while piece := file.read(HEAD_BYTES):
            _, line_end, rest = (b"", b"\n", piece) if ended else piece.partition(b"\n")
            ended = bool(line_end)
            if rest.strip():
                return False
    return True


def _binary(head: bytes, asked: DatasetFormat) -> Detected:
    """A Parquet or Arrow file, or a file that was to be one and is not."""
    if not head:
        return Detected(None, "empty", problem=NO_ROWS)
    is_there = next((kind for magic, kind in BINARY.items() if head.startswith(magic)), None)
    if is_there is None:
        return Detected(None, f"no {asked}", problem=f"is no {asked} file, as dataset.format says")
    if asked in (DatasetFormat.AUTO, is_there):
        return Detected(is_there, FIRST_BYTES[head[:4]])
    return Detected(
        None, str(is_there), problem=f"is {_A[is_there]} file, and dataset.format is {asked}"
    )


def _delimiter(first_line: bytes) -> str:
    """The most frequent of the usual delimiters in the header row."""
    return max(",;\t", key=lambda delimiter: first_line.count(delimiter.encode()))
