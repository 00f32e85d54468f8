"""Which two examples `make test` runs on a day."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ELSEWHERE = {"01-hello-lora", "02-sft-json"}
"""Examples that have tests of their own in every run."""
UNREACHED = {"05-summarize-docstrings"}
"""Examples whose base has to be brought from a hub."""
SPOKEN = {"14-spoken-orders"}
"""Examples whose rows espeak-ng speaks."""
EVERY = sorted(
    path for path in EXAMPLES.iterdir()
    if (path / "job.yaml").is_file() and path.name not in ELSEWHERE | UNREACHED
)  # fmt: skip


def of_the_day(day: int | None = None) -> list[Path]:
    """Two examples by the number of a day, today's by default: the next two on the next."""
    number = datetime.now(UTC).toordinal() if day is None else day
    return [EVERY[(2 * number + at) % len(EVERY)] for at in range(2)]


def skip_unless_spoken(example: Path) -> None:
    """Rows that are spoken need the program that speaks."""
    if example.name in SPOKEN and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
