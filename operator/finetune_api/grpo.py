"""The block ``training.grpo``: what GRPO writes, and what it is rewarded for.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from finetune_api.base import Document

Weight = Annotated[float, Field(gt=0, le=1000)]


class ExactMatch(Document):
    """1 for the row's own answer."""

    weight: Weight = 1.0
    """Weight beside the other rewards."""


class JsonSchema(Document):
    """1 for JSON that a schema describes."""

    weight: Weight = 1.0
    """Weight beside the other rewards."""
    schema_text: Annotated[
        str, StringConstraints(min_length=1, max_length=32768), Field(alias="schema")
    ]
    """A JSON Schema (draft 2020-12), as text."""


class Regex(Document):
    """1 where a pattern is found."""

    weight: Weight = 1.0
    """Weight beside the other rewards."""
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """A regular expression of Python, found anywhere in the answer: `^` and `$` bind it to the
    ends."""


class Length(Document):
    """1 for an answer of a length, less for others."""

    weight: Weight = 1.0
    """Weight beside the other rewards."""
    tokens: Annotated[int, Field(ge=1, le=131072)]
    """Tokens of an answer that gets 1. A share of the reward is lost for each share that it is
    shorter or longer: nothing is left at no token and from twice as many."""


class Rewards(Document):
    """What an answer is rewarded for: at least one. Each gives 0 to 1, and the reward is their mean
    by weight. Spaces around an answer do not count."""

    exact_match: ExactMatch | None = None
    """1 where the answer is the row's `completion` to the character, else 0."""
    json_schema: JsonSchema | None = None
    """1 where the answer is JSON that fits a schema, else 0."""
    regex: Regex | None = None
    """1 where a pattern is found in the answer, else 0."""
    length: Length | None = None
    """By the length of the answer in tokens."""


class Grpo(Document):
    """What GRPO writes, and what it is rewarded for."""

    rewards: Rewards
    """What an answer is rewarded for."""
    generations: Annotated[int, Field(ge=2, le=256)] = 8
    """Answers to each prompt, which are compared with each other: `globalBatchSize` prompts make
    this many times as many answers."""
    max_new_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    """Longest answer, in tokens."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """The larger, the more answers to a prompt differ. Base and tuned model are compared
    without it, by their likeliest answers."""
