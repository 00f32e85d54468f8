"""Metrics of translations: BLEU and chrF, as sacrebleu gives them (0 to 100)."""

from typing import Any

import numpy as np

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Metric
from finetune_trainer.evaluate.summaries import exact_match
from finetune_trainer.evaluate.words import mostly_unspaced


def compare(references: list[str], base: list[str], tuned: list[str], *, seed: int) -> Comparison:
    """BLEU and chrF of all rows together, and exact match of short references.

    BLEU counts words of its tokenizer 13a; letters, and is called ``bleu_char``, where references
    are in a script without spaces. chrF of its own row decides who wins it.
    """
    from sacrebleu.metrics import BLEU, CHRF

    by_letter = mostly_unspaced(references)
    bleu, chrf = BLEU(tokenize="char" if by_letter else "13a"), CHRF()
    metrics = {
        "bleu_char" if by_letter else "bleu": corpus(bleu, references, base, tuned),
        "chrf": corpus(chrf, references, base, tuned),
    } | exact_match(references, base, tuned)
    rows = (
        np.array([
            chrf.sentence_score(text, [wanted]).score
            for text, wanted in zip(written, references, strict=True)
        ])
        for written in (base, tuned)
    )  # fmt: skip
    return comparing.compare(metrics, *rows, seed=seed)


def corpus(metric: Any, references: list[str], base: list[str], tuned: list[str]) -> Metric:
    """The score of any rows together.

    It is made of counts that add up over rows. sacrebleu's own resampling takes them by the same
    two methods, which are no public ones: the version is pinned, and a test compares with the
    public score.
    """
    counts = [
        np.array(metric._extract_corpus_statistics(written, [references]))
        for written in (base, tuned)
    ]

    def score(rows: Any) -> tuple[float, float]:
        base, tuned = (
            float(metric._compute_score_from_stats(count[rows].sum(axis=0).tolist()).score)
            for count in counts
        )
        return base, tuned

    return score
