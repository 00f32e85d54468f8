"""Token ids and lengths with the model's own tokenizer; maxLength and rows longer than it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.errors import DataError, UserError
from finetune_api.job import Overlength

ROUND_TO = 64
DEFAULT_CAP = 512
COVERED = 0.99
UNLIMITED = 1_000_000
"""Tokenizers without a limit say a huge number."""

TOKENS = pa.schema([("input_ids", pa.list_(pa.int32()))])


@dataclass(frozen=True)
class MaxLength:
    """Longest row in tokens, and why."""

    tokens: int
    reason: str


def model_limit(tokenizer: Any, config: Any) -> int | None:
    """Longest input in tokens that the model takes, special tokens included; None: no limit.

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
    return min(limits) if limits else None


def refuse_length(asked: int | None, limit: int | None) -> None:
    """UserError when the maxLength that was asked for is more than the model takes."""
    if asked is not None and limit is not None and asked > limit:
        raise UserError(
            f"dataset.maxLength {asked} is more than the model's limit of {limit} tokens",
            f"set dataset.maxLength to {limit} or less, or leave it out",
        )


def choose_max_length(
    lengths: NDArray[np.int32], asked: int | None, limit: int | None
) -> MaxLength:
    """maxLength as asked, or the smallest multiple of 64 that covers 99 % of ``lengths``."""
    if asked is not None:
        return MaxLength(asked, "as asked for")
    covering = int(np.quantile(lengths, COVERED, method="inverted_cdf"))
    rounded = math.ceil(covering / ROUND_TO) * ROUND_TO
    cap = min(DEFAULT_CAP, limit) if limit is not None else DEFAULT_CAP
    if rounded <= cap:
        return MaxLength(rounded, f"99 % of the rows have {covering} tokens or fewer")
    why = "the model's limit" if cap == limit else f"{DEFAULT_CAP}, the most taken by default"
    return MaxLength(cap, f"99 % of the rows have {covering} tokens or fewer; cut to {why}")


def tokenize_all(texts: Path, tokens: Path, tokenizer: Any) -> Iterator[NDArray[np.int32]]:
    """Token ids of every text, untruncated, into the Arrow file ``tokens``; yields lengths."""
    with (
        pa.memory_map(str(texts)) as source,
        pa.OSFile(str(tokens), "wb") as sink,
        pa.ipc.new_file(sink, TOKENS) as writer,
    ):
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number).column(0).to_pylist()
            ids = encode(tokenizer, batch)
            writer.write_batch(pa.record_batch([pa.array(ids, TOKENS.field(0).type)], TOKENS))
            yield np.fromiter(map(len, ids), np.int32, len(ids))


def encode(tokenizer: Any, texts: list[str], max_length: int | None = None) -> list[list[int]]:
    """Token ids of texts with the special tokens; cut to ``max_length`` when given."""
    cut = {"truncation": True, "max_length": max_length} if max_length else {"truncation": False}
    encoded = tokenizer(
        texts, add_special_tokens=True, padding=False, return_attention_mask=False,
        return_token_type_ids=False, verbose=False, **cut,
    )  # fmt: skip
    ids: list[list[int]] = encoded["input_ids"]
    return ids


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
