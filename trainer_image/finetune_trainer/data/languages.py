"""In which languages texts are written, by py3langid, whose model is part of it."""

from collections import Counter
from collections.abc import Iterable

LONGEST = 1000
"""Characters of a text that are looked at."""
SHORTEST = 20
"""Characters of a text that tells its language at all."""


def shares(texts: Iterable[str]) -> dict[str, float]:
    """Share of texts by language (ISO 639-1), the most frequent first; short texts do not count."""
    import py3langid

    counts = Counter(
        py3langid.classify(text[:LONGEST])[0] for text in texts if len(text) >= SHORTEST
    )
    total = sum(counts.values())
    return {language: round(count / total, 4) for language, count in counts.most_common()}


def forget() -> None:
    """Free the library's model: 80 MB that are not needed again."""
    from py3langid import langid

    langid.IDENTIFIER = None
