"""Datasets that cannot be used: the file, the line, the value, the remedy; all mistakes at once."""

import pytest

from tests.bad_input.book import Book
from tests.e2e.bad_input import cases
from tests.e2e.bad_input.conftest import World

SECTION = "Dataset"


@pytest.mark.parametrize("title", cases.BAD_DATA)
def test_a_bad_dataset_is_told(world: World, book: Book, title: str) -> None:
    sentence = world.told(book, title)
    assert cases.BAD_DATA[title][1]["dataset"].get("test", {}).get("uri", "jsonl")[-5:] in sentence
