"""The book of bad inputs: docs/bad-input.md has a row for each, and a test that tells it.

A test module that tells rows has a constant ``SECTION``, the heading of its rows in the page, and
takes the fixture ``book``. ``pytest --write-book`` writes the rows as they are told; without it a
sentence or state that differs from the page fails its test, and a row that no test of the section
tells any more fails the module. What varies from run to run is normalised before.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"
MARK = "<!-- Below: written by `pytest --write-book`, checked by every run. -->"
HEADER = "| what is wrong | what you see | the sentence |\n|---|---|---|\n"
LONGEST = 1000

VARYING = (
    (r"127\.0\.0\.\d+:\d+", "HOST:PORT"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
    (r"\bt\d{8}-\d+\b", "NAMESPACE"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,}\b", "HASH"),
    (r"(-(?:prepare|train))(?:-\d+)?-[a-z0-9]{5}\b", r"\1-POD"),
    (r"\d+(?:\.\d+)? (s|seconds)\b", r"N \1"),
    (r"\b(?:\d+m)?\d+s\b", "Ns"),
    (r"\bport \d{4,5}\b", "port PORT"),
    (r"\bhas [\d,]+ bytes as JSON\b", "has SIZE bytes as JSON"),
    (r"\btry \d of\b", "try N of"),
)
NOT_FOR_PEOPLE = re.compile(
    r"Traceback|\w+Error\(|\w+Exception\b|NoneType|\bNone\b|\[?Errno|<class|object has no|\.py\b|"
    r"botocore|obstore|reqwest|urllib3|pydantic|object at 0x"
)
"""Words of a program's inside, which no sentence may hold."""


def normalised(text: str) -> str:
    """A sentence without what differs from run to run: the API server lists several mistakes in any
    order."""
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    head, *mistakes = text.split(" * ")
    return " * ".join([head, *sorted(mistakes)])


def seen(status: Mapping[str, Any], condition: str) -> tuple[str, str]:
    """State and sentence of a condition, as `tell` takes them: ``tell(case, *seen(…))``."""
    found = next(c for c in status["conditions"] if c["type"] == condition)
    state = f"{status['display']['status']}, `{condition}={found['status']}/{found['reason']}`"
    return state, found["message"]


def read(page: Path = PAGE) -> dict[str, dict[str, tuple[str, str]]]:
    """Section → case → (state, sentence), as the page has them."""
    sections: dict[str, dict[str, tuple[str, str]]] = {}
    _, _, told = page.read_text(encoding="utf-8").partition(MARK)
    section = ""
    for line in told.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and f"{line}\n" not in HEADER:
            case, state, sentence = (cell.strip() for cell in _cells(line))
            sections.setdefault(section, {})[case] = (state, sentence)
    return sections


def write(section: str, rows: Mapping[str, tuple[str, str]], page: Path = PAGE) -> None:
    """Replace a section's rows; sections and rows stand in alphabetical order."""
    sections = read(page) | {section: dict(rows)}
    introduction = page.read_text(encoding="utf-8").partition(MARK)[0]
    text = f"{introduction}{MARK}\n"
    for name in sorted(filter(sections.__getitem__, sections)):
        text += f"\n## {name}\n\n{HEADER}"
        for case, (state, sentence) in sorted(sections[name].items()):
            text += f"| {' | '.join(_escaped(cell) for cell in (case, state, sentence))} |\n"
    page.write_text(text, encoding="utf-8")


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [cell.replace(r"\|", "|") for cell in cells]


@dataclass
class Book:
    """The rows of one section, as the page has them and as the tests of a module tell them."""

    section: str
    writing: bool = False
    page: Path = PAGE
    told: dict[str, tuple[str, str]] = field(default_factory=dict)

    def tell(self, case: str, state: str, sentence: str) -> None:
        """A bad input was seen: its state and its one sentence must be those of the page."""
        assert case not in self.told, f"{case!r} is told twice"
        assert sentence, f"{case!r}: nothing is said"
        assert "\n" not in sentence, f"{case!r}: more than one line: {sentence}"
        assert len(sentence) <= LONGEST, f"{case!r}: a wall of {len(sentence)} characters"
        assert not (inside := NOT_FOR_PEOPLE.search(sentence)), f"{inside}: {sentence}"
        row = self.told[case] = (normalised(state), normalised(sentence))
        if not self.writing:
            page = read(self.page).get(self.section, {})
            assert case in page, f"{self.page.name} has no row {case!r}; add it: --write-book"
            assert row == page[case], f"{case!r}: told {row}, the page has {page[case]}"

    def close(self, *, whole: bool) -> None:
        """The module is done. ``whole``: all its tests ran, so what was not told is stale."""
        page = read(self.page).get(self.section, {})
        if self.writing:
            write(self.section, self.told if whole else page | self.told, self.page)
        elif whole:
            stale = sorted(page.keys() - self.told.keys())
            assert not stale, f"{self.page.name}, {self.section}: no test tells {stale}"
