"""Datasets that cannot be used: the file, the line, the value, the remedy; all mistakes at once."""

import pytest

from tests.bad_input.book import Book
from tests.e2e.bad_input import cases
from tests.e2e.bad_input.conftest import World

SECTION = "Dataset"
SAYS = {
    "column that is not there": "60 problems in the dataset: column.jsonl:1, column.jsonl:2, ",
    "many kinds of mistakes at once": "35 problems in the dataset: (1) many.jsonl:61, ",
    "too few rows": "5 rows of 2 classes",
}


@pytest.mark.parametrize("title", cases.BAD_DATA)
def test_a_bad_dataset_is_told(world: World, book: Book, title: str) -> None:
    sentence = world.told(book, title)
    assert sentence.startswith(SAYS.get(title, "1 problem in the dataset: "))
