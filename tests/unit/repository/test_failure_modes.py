"""The table of failures, held against the tests that it names."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    line
    for line in (ROOT / "docs" / "failure-modes.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| what dies")
]


def test_every_row_names_a_test_that_exists() -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
    }
    assert ROWS
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        named = re.findall(r"`(test_\w+)`", cells[-1])
        assert len(cells) == 5, row
        assert named, f"names no test: {row}"
        assert set(named) <= tests, f"names a test that does not exist: {row}"
