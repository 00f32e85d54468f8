"""Other words for a text: synonyms, neighbours that change places, words left out. Pure.

Words are what stands between spaces; the spaces stay where they are.
"""

import random
import re
from collections import Counter

from finetune_api.augmentation import Synonyms, TextAugmentation

WORD = re.compile(r"(\s*)(\S+)")
CORE = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)


class Rewording:
    """Changes texts as the job says."""

    def __init__(self, settings: TextAugmentation) -> None:
        self.settings = settings
        self._others = _others(settings.synonyms)

    def changed(self, text: str, rng: random.Random) -> tuple[str, Counter[str]]:
        """The text with other words, and how many words each change took."""
        found = WORD.findall(text)
        spaces, words = [space for space, _ in found], [word for _, word in found]
        counts: Counter[str] = Counter()
        if self.settings.synonyms is not None:
            self._replace(words, self.settings.synonyms.share, rng, counts)
        if self.settings.swap is not None:
            _swap(words, self.settings.swap, rng, counts)
        if self.settings.delete is not None and words:
            spaces, words = _without_some(spaces, words, self.settings.delete, rng, counts)
        pieces = [f"{space}{word}" for space, word in zip(spaces, words, strict=True)]
        return "".join(pieces) + text[len(text.rstrip()) :], counts

    def _replace(
        self, words: list[str], share: float, rng: random.Random, counts: Counter[str]
    ) -> None:
        for number, word in enumerate(words):
            match = CORE.fullmatch(word)
            assert match is not None
            before, core, after = match.groups()
            others = self._others.get(core.casefold())
            if others and rng.random() < share:
                words[number] = f"{before}{_like(core, rng.choice(others))}{after}"
                counts["synonyms"] += 1


def _others(synonyms: Synonyms | None) -> dict[str, list[str]]:
    """For each word all that can stand for it."""
    found: dict[str, dict[str, None]] = {}
    for line in synonyms.words if synonyms is not None else ():
        words = [word.strip() for word in line.split(",")]
        for word in words:
            others = dict.fromkeys(o for o in words if o.casefold() != word.casefold())
            found.setdefault(word.casefold(), {}).update(others)
    return {word: list(others) for word, others in found.items()}


def _like(word: str, other: str) -> str:
    """``other`` with the capitals of ``word``."""
    if len(word) > 1 and word.isupper():
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other


def _swap(words: list[str], share: float, rng: random.Random, counts: Counter[str]) -> None:
    number = 0
    while number + 1 < len(words):
        if rng.random() < share and words[number] != words[number + 1]:
            words[number : number + 2] = words[number + 1], words[number]
            counts["swap"] += 1
            number += 1
        number += 1


def _without_some(
    spaces: list[str], words: list[str], share: float, rng: random.Random, counts: Counter[str]
) -> tuple[list[str], list[str]]:
    kept = [number for number in range(len(words)) if rng.random() >= share]
    kept = kept or [rng.randrange(len(words))]
    counts["delete"] += len(words) - len(kept)
    first = spaces[:1]
    return first + [spaces[number] for number in kept[1:]], [words[number] for number in kept]
