"""Metrics of summaries: ROUGE against the references, and what the source does not say."""

import numpy as np

from finetune_trainer.evaluate import answers, grounding
from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Metric, Scores
from finetune_trainer.evaluate.words import words

KINDS = ("rouge1", "rouge2", "rougeL")
SHORT_WORDS = 8
"""Median words of a reference up to which writing exactly the same is likely enough to count."""


class _Words:
    """What rouge-score asks for its words: its own drops all letters but a to z."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def compare(
    sources: list[str], references: list[str], base: list[str], tuned: list[str], *, seed: int
) -> Comparison:
    """ROUGE-1, 2 and L (F1, 0 to 1), exact match of short references, and the shares of word pairs
    and of numbers in the summaries that their source does not have: less is better grounded.

    ROUGE-L decides who wins a row.
    """
    of_base, of_tuned = rouge(references, base), rouge(references, tuned)
    metrics = {kind: comparing.mean_of(of_base[kind], of_tuned[kind]) for kind in KINDS}
    metrics |= exact_match(references, base, tuned) | grounding.metrics(sources, base, tuned)
    return comparing.compare(metrics, of_base["rougeL"], of_tuned["rougeL"], seed=seed)


def rouge(references: list[str], written: list[str]) -> dict[str, Scores]:
    """F1 by kind [rows]."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(KINDS), tokenizer=_Words())
    rows = [scorer.score(*texts) for texts in zip(references, written, strict=True)]
    return {kind: np.array([row[kind].fmeasure for row in rows]) for kind in KINDS}


def exact_match(references: list[str], base: list[str], tuned: list[str]) -> dict[str, Metric]:
    """The metric, where references are so short that it says something."""
    if np.median([len(words(text)) for text in references]) > SHORT_WORDS:
        return {}
    scores = (answers.exact_match(references, written) for written in (base, tuned))
    return {"exact_match": comparing.mean_of(*scores)}
