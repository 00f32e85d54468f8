"""Metrics of answers found in a text: exact match and token F1 of SQuAD, by torchmetrics."""

import numpy as np

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Comparison, Scores


def compare(
    references: list[list[str]], base: list[str], tuned: list[str], *, seed: int
) -> Comparison:
    """Token F1 and exact match of two answers to each question; an answer counts by the reference
    that it is most like. No reference: the right answer is none."""
    base_f1, base_exact = scores(references, base)
    tuned_f1, tuned_exact = scores(references, tuned)
    metrics = {
        "f1": comparing.mean_of(base_f1, tuned_f1),
        "exact_match": comparing.mean_of(base_exact, tuned_exact),
    }
    return comparing.compare(metrics, base_f1, tuned_f1, seed=seed)


def scores(references: list[list[str]], answers: list[str]) -> tuple[Scores, Scores]:
    """F1 and exact match of each answer, from 0 to 1 [questions]."""
    from torchmetrics.functional.text import squad

    f1, exact = np.zeros(len(answers)), np.zeros(len(answers))
    for number, (wanted, told) in enumerate(zip(references, answers, strict=True)):
        target = {"answers": {"text": wanted or [""]}, "id": "1"}
        found = squad([{"prediction_text": told, "id": "1"}], [target])
        f1[number], exact[number] = float(found["f1"]) / 100, float(found["exact_match"]) / 100
    return f1, exact
