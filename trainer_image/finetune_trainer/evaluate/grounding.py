"""What written texts say that their source does not: word pairs and numbers. Less is better."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetune_trainer.evaluate.compare import Metric
from finetune_trainer.evaluate.words import numbers, pairs

PARTS: dict[str, Callable[[str], Sequence[Any]]] = {
    "ungrounded_pairs": pairs, "ungrounded_numbers": numbers,
}  # fmt: skip
MOSTLY = 0.5
"""Share of the references' word pairs from which on they count as taken from their sources."""


def metrics(sources: list[str], base: list[str], tuned: list[str]) -> dict[str, Metric]:
    """The shares of word pairs and of numbers in the texts that their source does not have."""
    return {name: ungrounded(sources, base, tuned, parts) for name, parts in PARTS.items()}


def are_grounded(sources: list[str], references: list[str]) -> bool:
    """Do the right answers mostly say what their sources say, in two words or more? Those of other
    tasks cannot be held against what was asked."""
    counts = np.array(_absent(sources, references, pairs))
    absent, said = counts.sum(axis=0)
    return bool(np.median(counts[:, 1]) >= 1 and absent <= (1 - MOSTLY) * said)


def ungrounded(
    sources: list[str],
    base: list[str],
    tuned: list[str],
    parts: Callable[[str], Sequence[Any]],
) -> Metric:
    """Of all ``parts`` of the texts, the share that their sources lack; 0 without any."""
    counts = [np.array(_absent(sources, written, parts)) for written in (base, tuned)]

    def share(rows: Any) -> tuple[float, float]:
        absent = [count[rows].sum(axis=0) for count in counts]
        base, tuned = (float(few / many) if many else 0.0 for few, many in absent)
        return base, tuned

    return share


def _absent(
    sources: list[str], written: list[str], parts: Callable[[str], Sequence[Any]]
) -> list[tuple[int, int]]:
    """Parts that the source does not have, and all parts, by row."""
    found = []
    for source, text in zip(sources, written, strict=True):
        said, known = Counter(parts(text)), set(parts(source))
        absent = sum(count for part, count in said.items() if part not in known)
        found.append((absent, said.total()))
    return found
