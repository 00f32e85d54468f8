"""Plain text files: every line is a document, or every file is one."""

from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.data.columns import Tell

LARGEST = 64 * 1024 * 1024
"""Bytes of a file that is one document: it is held whole, with its tokens."""
COLUMN = "text"
"""What the only column of a plain text file is called."""

Numbered = Iterator[tuple[int, dict[str, str]]]


def of_lines(lines: Iterator[str]) -> Numbered:
    """Number and text of every line that says something."""
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if text and not text.isspace():
            yield number, {COLUMN: text}


def of_file(path: Path, lines: Iterator[str], tell: Tell) -> Numbered:
    """The whole file, whose lines are ``lines``."""
    size = path.stat().st_size
    if size > LARGEST:
        tell(
            0, rule="is too large for one document", value=f"{size / 2**20:,.0f} MiB",
            fix="set dataset.format: Lines when every line is a document, or split the file",
        )  # fmt: skip
        return
    yield 1, {COLUMN: "".join(lines)}
