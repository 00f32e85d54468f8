"""Metrics of written answers: exact match, and for answers in JSON whether they are any."""

import json

import numpy as np

from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate import grounding
from finetune_trainer.evaluate.compare import Comparison, Scores


def compare(
    prompts: list[str], references: list[str], base: list[str], tuned: list[str], *, seed: int
) -> Comparison:
    """Exact match; where every reference is a JSON object or list, also the share of valid JSON;
    where references mostly say what their prompts say, also what answers say beyond that.

    Spaces around an answer do not count.
    """
    base_right, tuned_right = exact_match(references, base), exact_match(references, tuned)
    metrics = {"exact_match": comparing.mean_of(base_right, tuned_right)}
    if valid_json(references).all():
        metrics["json_valid"] = comparing.mean_of(valid_json(base), valid_json(tuned))
    if grounding.are_grounded(prompts, references):
        metrics |= grounding.metrics(prompts, base, tuned)
    return comparing.compare(metrics, base_right, tuned_right, seed=seed)


def exact_match(references: list[str], answers: list[str]) -> Scores:
    """1.0 where an answer is its reference to the character [rows]."""
    pairs = zip(references, answers, strict=True)
    return np.array([float(wanted.strip() == got.strip()) for wanted, got in pairs])


def valid_json(answers: list[str]) -> Scores:
    """1.0 where an answer is a JSON object or list and nothing else [rows]."""
    return np.array([float(_is_json(answer)) for answer in answers])


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
