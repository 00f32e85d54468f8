"""Words as metrics of written text count them, in any script."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

UNSPACED = "぀-ヿ㐀-鿿豈-﫿฀-໿က-႟ក-៿𠀀-𲎯"
"""Kana, Han, Thai, Lao, Burmese, Khmer: written without spaces between words."""
_WORDS = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_NUMBERS = re.compile(r"\d+(?:[.,:]\d+)*")
_UNSPACED = re.compile(f"[{UNSPACED}]")


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; letters of scripts without spaces each count as one."""
    return _WORDS.findall(unicodedata.normalize("NFC", text).lower())


def pairs(text: str) -> list[tuple[str, str]]:
    """Words that follow each other."""
    found = words(text)
    return list(pairwise(found))


def numbers(text: str) -> list[str]:
    """Numbers, with their separators."""
    return _NUMBERS.findall(text)


def mostly_unspaced(texts: Iterable[str]) -> bool:
    """Are most letters of a script without spaces?"""
    joined = "".join(texts)
    return 2 * len(_UNSPACED.findall(joined)) > sum(letter.isalpha() for letter in joined)
