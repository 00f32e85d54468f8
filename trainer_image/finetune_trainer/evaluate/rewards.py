"""What an answer is worth: the rewards that a job asks for, each from 0 to 1."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune_api.errors import UserError
from finetune_api.grpo import Rewards as Asked
from finetune_trainer.evaluate.compare import Scores


@dataclass(frozen=True)
class Answer:
    """What was written, its tokens, and what is right (empty where the row does not say)."""

    text: str
    tokens: int
    reference: str


Measure = Callable[[Answer], float]


class Rewards:
    """The weighted mean of all rewards that are asked for."""

    def __init__(self, asked: Asked) -> None:
        """UserError with every reward that cannot be given."""
        self.measures: list[tuple[float, Measure]] = []
        problems: list[tuple[str, str]] = []
        for make in (_exact_match, _json_schema, _regex, _length):
            try:
                self.measures += make(asked)
            except UserError as error:
                problems.append((error.message, error.remedy or ""))
        if problems:
            messages, remedies = zip(*problems, strict=True)
            raise UserError("; ".join(messages), "; ".join(remedies))

    def __call__(self, answers: list[Answer]) -> Scores:
        """The reward of each answer [answers]."""
        weights = np.array([weight for weight, _ in self.measures])
        table = [[measure(answer) for _, measure in self.measures] for answer in answers]
        return np.array(table) @ weights / weights.sum()


Made = Iterator[tuple[float, Measure]]


def _exact_match(asked: Asked) -> Made:
    if asked.exact_match is not None:
        yield asked.exact_match.weight, lambda one: float(one.text.strip() == one.reference.strip())


def _json_schema(asked: Asked) -> Made:
    from jsonschema import Draft202012Validator, SchemaError

    if asked.json_schema is None:
        return
    where, fix = "training.grpo.rewards.jsonSchema.schema", "write a JSON Schema (draft 2020-12)"
    try:
        schema = json.loads(asked.json_schema.schema_text)
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON ({error})", fix) from error
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UserError(f"{where} is no schema: {error.message}"[:600], fix) from error
    fits = Draft202012Validator(schema).is_valid

    def measure(answer: Answer) -> float:
        try:
            return float(fits(json.loads(answer.text)))
        except (ValueError, RecursionError):
            return 0.0

    yield asked.json_schema.weight, measure


def _regex(asked: Asked) -> Made:
    if asked.regex is None:
        return
    try:
        found = re.compile(asked.regex.pattern).search
    except re.error as error:
        raise UserError(
            f"training.grpo.rewards.regex.pattern {asked.regex.pattern!r} is no regular "
            f"expression of Python: {error}",
            "correct the pattern",
        ) from error
    yield asked.regex.weight, lambda answer: float(found(answer.text.strip()) is not None)


def _length(asked: Asked) -> Made:
    if asked.length is None:
        return
    wanted = asked.length.tokens
    yield asked.length.weight, lambda one: max(0.0, 1 - abs(one.tokens - wanted) / wanted)


def worth(rewards: Rewards, tokenizer: Any, texts: list[str], references: list[str]) -> Scores:
    """The reward of each text [texts]."""
    counted = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    triples = zip(texts, map(len, counted), references, strict=True)
    return rewards([Answer(*triple) for triple in triples])
