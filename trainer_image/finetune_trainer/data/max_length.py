"""maxLength, and what happens to rows that are longer."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.dataset import Overlength
from finetune_api.errors import DataError, UserError

ROUND_TO = 64
COVERED = 0.99
UNLIMITED = 1_000_000
"""Tokenizers without a limit say a huge number."""


@dataclass(frozen=True)
class MaxLength:
    """Longest row in tokens, and why."""

    tokens: int
    reason: str


def model_limit(tokenizer: Any, config: Any, virtual_tokens: int) -> int | None:
    """Longest input in tokens that the model takes beside ``virtual_tokens``, special tokens
    included; None: no limit.

    RoBERTa's positions start after the padding index (transformers' modeling_roberta), so two of
    its positions are never used.
    """
    limits = []
    if tokenizer.model_max_length < UNLIMITED:
        limits.append(int(tokenizer.model_max_length))
    positions = getattr(config, "max_position_embeddings", None)
    if positions and positions > 0:
        offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
        limits.append(positions - offset)
    return min(limits) - virtual_tokens if limits else None


def room_left(limit: int, new_tokens: int) -> int:
    """Longest prompt beside the tokens that are to be written; UserError when there is none."""
    if new_tokens >= limit:
        raise UserError(
            f"training.grpo.maxNewTokens {new_tokens} leaves no room for a prompt: the model takes "
            f"{limit} tokens",
            f"set it to less than {limit}",
        )
    return limit - new_tokens


def refuse_length(asked: int | None, limit: int | None) -> None:
    """UserError when the maxLength that was asked for is more than the model takes."""
    if asked is not None and limit is not None and asked > limit:
        raise UserError(
            f"dataset.maxLength {asked} is more than the model's limit of {limit} tokens",
            f"set dataset.maxLength to {limit} or less, or leave it out",
        )


def choose_max_length(
    lengths: NDArray[np.int32], asked: int | None, limit: int | None, *, cap: int
) -> MaxLength:
    """maxLength as asked, or the smallest multiple of 64 that covers 99 % of ``lengths``, at most
    ``cap``."""
    if asked is not None:
        return MaxLength(asked, "as asked for")
    covering = int(np.quantile(lengths, COVERED, method="inverted_cdf"))
    rounded = math.ceil(covering / ROUND_TO) * ROUND_TO
    most = min(cap, limit) if limit is not None else cap
    if rounded <= most:
        return MaxLength(rounded, f"99 % of the rows have {covering} tokens or fewer")
    why = "the model's limit" if most == limit else f"{cap}, the most taken by default"
    return MaxLength(most, f"99 % of the rows have {covering} tokens or fewer; cut to {why}")


def refuse_overlength(
    lengths: NDArray[np.int32], max_length: int, policy: Overlength
) -> NDArray[np.bool_]:
    """True where a row is longer than ``max_length``; DataError when the policy is Fail."""
    over = lengths > max_length
    if policy is Overlength.FAIL and over.any():
        worst = int(lengths.argmax())
        raise DataError(
            f"{int(over.sum())} of {len(lengths)} rows have more than {max_length} tokens; "
            f"the longest is row {worst + 1} with {int(lengths[worst])}",
            "raise dataset.maxLength, or set dataset.overlength to Truncate or Drop",
        )
    return over
