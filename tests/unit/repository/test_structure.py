"""The shape of the repository: what people rely on when they look for something."""

import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [
    path
    for folder in ("operator", "trainer_image", "localcluster", "hack", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_operator_folder_is_not_a_package_because_it_would_shadow_the_standard_library() -> None:
    assert (ROOT / "operator").is_dir()
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_no_file_is_longer_than_400_lines() -> None:
    assert {str(p.relative_to(ROOT)): lines(p) for p in SOURCES if lines(p) > 400} == {}


def test_files_are_small() -> None:
    counts = sorted(lines(path) for path in SOURCES if path.name != "__init__.py")
    assert statistics.median(counts) <= 130
    assert counts[int(len(counts) * 0.9)] <= 300


def test_no_file_is_named_for_nothing() -> None:
    nameless = {"utils", "util", "helpers", "common", "misc"}
    assert [p for p in SOURCES if p.stem in nameless or p.parent.name in nameless] == []
