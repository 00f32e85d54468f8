"""The book itself: it notices changed sentences, stale rows, and sections without a module."""

import re
from pathlib import Path

import pytest

from tests.bad_input import book

TESTS = Path(__file__).resolve().parents[1]
STATE = "Failed, `Succeeded=False/UserError`"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "bad-input.md"
    path.write_text(f"# Words\n\n{book.MARK}\n", encoding="utf-8")
    return path


def tell(page: Path, *rows: tuple[str, str], writing: bool, whole: bool = True) -> None:
    told = book.Book("Storage", writing, page)
    for case, sentence in rows:
        told.tell(case, STATE, sentence)
    told.close(whole=whole)


def test_what_was_written_is_read_and_what_varies_may_vary(page: Path) -> None:
    tell(page, ("pipe", "a|b at 127.0.0.1:4711 for 21 s"), ("bucket", "no bucket"), writing=True)
    tell(page, ("bucket", "no bucket"), ("pipe", "a|b at 127.0.0.5:9 for 9 s"), writing=False)
    assert page.read_text(encoding="utf-8").startswith("# Words\n")
    assert list(book.read(page)["Storage"]) == ["bucket", "pipe"]


def test_a_changed_sentence_and_a_new_row_fail(page: Path) -> None:
    tell(page, ("bucket", "no bucket"), writing=True)
    with pytest.raises(AssertionError, match="another"):
        tell(page, ("bucket", "another"), writing=False)
    with pytest.raises(AssertionError, match="--write-book"):
        tell(page, ("prefix", "no prefix"), writing=False)


def test_a_row_that_nobody_tells_fails_the_module_only_when_all_of_it_ran(page: Path) -> None:
    tell(page, ("bucket", "no bucket"), ("prefix", "no prefix"), writing=True)
    tell(page, ("bucket", "no bucket"), writing=False, whole=False)
    with pytest.raises(AssertionError, match="no test tells"):
        tell(page, ("bucket", "no bucket"), writing=False)
    tell(page, ("bucket", "no bucket"), writing=True)
    assert list(book.read(page)["Storage"]) == ["bucket"]


@pytest.mark.parametrize(
    "sentence", ["KeyError('text')", "[Errno 2] no such file", "two\nlines", "", "x" * 2000]
)
def test_what_no_person_should_read_is_refused(page: Path, sentence: str) -> None:
    with pytest.raises(AssertionError):
        tell(page, ("case", sentence), writing=True)


def test_every_section_of_the_page_has_one_module() -> None:
    found = [
        match
        for path in TESTS.rglob("test_*.py")
        for match in re.findall(r'^SECTION = "(.+)"$', path.read_text(encoding="utf-8"), re.M)
    ]
    assert sorted(found) == sorted(set(found))
    assert book.read().keys() <= set(found)


def test_mistakes_stand_in_one_order() -> None:
    assert book.normalised("it is invalid: * b: two * a: one") == "it is invalid: * a: one * b: two"
