"""Metrics of transcripts: word and character error rate, as jiwer aligns them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Pair

Counts = NDArray[np.int64]
"""Of each row: what must be changed, and how much the reference has [rows, 2]."""


def compare(references: list[str], base: list[str], tuned: list[str], *, seed: int) -> Comparison:
    """Word and character error rate, the lower the better: changes of all rows over words, or
    letters, of all rows. A row is won by the fewer wrong letters."""
    import jiwer

    def metric(process: Any) -> Any:
        found = [counts(process, references, written) for written in (base, tuned)]

        def rates(rows: Any) -> Pair:
            before, after = (rate(each[rows]) for each in found)
            return before, after

        return rates

    letters = [counts(jiwer.process_characters, references, written) for written in (base, tuned)]
    right = [-each[:, 0] / each[:, 1] for each in letters]
    metrics = {"wer": metric(jiwer.process_words), "cer": metric(jiwer.process_characters)}
    return comparing.compare(metrics, *right, seed=seed)


def counts(process: Any, references: list[str], written: list[str]) -> Counts:
    """By one of jiwer's ways to align."""
    found = np.zeros((len(references), 2), np.int64)
    for number, (reference, text) in enumerate(zip(references, written, strict=True)):
        seen = process(reference, text)
        found[number, 0] = seen.substitutions + seen.deletions + seen.insertions
        found[number, 1] = seen.hits + seen.substitutions + seen.deletions
    return found


def rate(some: Counts) -> float:
    """Changes over the size of the references."""
    changes, size = some.sum(axis=0)
    return float(changes / size)
