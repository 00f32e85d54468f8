"""Base models that cannot be used: the address, what is wrong there, the remedy."""

import pytest

from tests.bad_input.book import Book
from tests.e2e.bad_input import cases
from tests.e2e.bad_input.conftest import World

SECTION = "Model"


@pytest.mark.parametrize("title", cases.BAD_MODELS)
def test_a_bad_model_is_told(world: World, book: Book, title: str) -> None:
    sentence = world.told(book, title)
    assert f"s3://models/bad/{cases.BAD_MODELS[title][0]}/" in sentence
