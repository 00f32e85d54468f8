"""Rows as token ids with the model's own tokenizer, and how a row that is too long is cut.

An encoder turns contents (``layouts.Row.content``) into columns; it knows nothing of files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finetune_api.errors import UserError

IDS = pa.field("input_ids", pa.list_(pa.int32()))
LENGTH = pa.field("length", pa.int32())
"""Positions at which the model looks at an image, or listens."""
IGNORED = -100
"""Label of a token that is not learnt, as in transformers."""


def lengths(batch: pa.RecordBatch | pa.Table) -> NDArray[np.int32]:
    """Length in tokens of every row: of its longest column, where it has several; of media as they
    were told."""
    if LENGTH.name in batch.schema.names:
        return np.asarray(batch.column(LENGTH.name).to_numpy(), np.int32)
    lists = [
        pc.list_value_length(batch.column(field.name))
        for field in batch.schema
        if pa.types.is_list(field.type)
    ]
    longest = pc.max_element_wise(*lists)
    return np.asarray(longest.to_numpy(), np.int32)


def require_end(tokenizer: Any, uri: str) -> int:
    """The end-of-text token; UserError when there is none. ``uri`` is the model's."""
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"model.uri {uri}: the tokenizer has no end-of-text token, so no answer could ever end",
            "set eos_token in tokenizer_config.json",
        )
    end: int = tokenizer.eos_token_id
    return end


class Encoder(Protocol):
    """What a task makes of contents."""

    schema: pa.Schema
    """Columns of an encoded row; ``input_ids`` is among them."""

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated, one a content."""
        ...

    def cut(self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array,
            max_length: int) -> pa.RecordBatch:  # fmt: skip
        """The batch with the rows ``over`` cut to ``max_length`` tokens."""
        ...

    def notes(self) -> list[str]:
        """What the data report says about the encoding."""
        ...


@runtime_checkable
class Refusing(Protocol):
    """An encoder that finds rows which the model cannot learn."""

    def refuse(self) -> None:
        """DataError with all of them, once every row was encoded."""
        ...


@runtime_checkable
class LeavingOut(Protocol):
    """An encoder that leaves out rows which are too long to be taken whole."""

    left_out: list[int]
    """Their numbers, once every row was encoded."""


class TextEncoder:
    """A text with the tokenizer's special tokens."""

    schema = pa.schema([IDS])

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Token ids of every text."""
        return pa.record_batch([pa.array(self._ids(contents), IDS.type)], schema=self.schema)

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long texts are tokenised anew, so that their last token is the closing one."""
        rows = batch.column(0).to_pylist()
        again = self._ids([contents[int(row)].as_py() for row in over], max_length)
        for row, ids in zip(over, again, strict=True):
            rows[row] = ids
        return pa.record_batch([pa.array(rows, IDS.type)], schema=self.schema)

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []

    def _ids(self, texts: list[str], max_length: int | None = None) -> list[list[int]]:
        cut = {"truncation": True, "max_length": max_length} if max_length else {}
        encoded = self.tokenizer(
            texts, add_special_tokens=True, padding=False, return_attention_mask=False,
            return_token_type_ids=False, verbose=False, **cut,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids


def encode_all(contents: Path, tokens: Path, encoder: Encoder) -> Iterator[pa.RecordBatch]:
    """Encode every content into the Arrow file ``tokens``; yields the batches as written."""
    with (
        pa.OSFile(str(contents), "rb") as source,
        pa.OSFile(str(tokens), "wb") as sink,
        pa.ipc.new_file(sink, encoder.schema) as writer,
    ):
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = encoder.encode(reader.get_batch(number).column(0).to_pylist())
            writer.write_batch(batch)
            yield batch
    if isinstance(encoder, Refusing):
        encoder.refuse()
