"""Sources and targets as token ids, for models with an encoder and a decoder.

The target is tokenised as a target: multilingual tokenizers mark its language, and some have a
vocabulary of its own. Every target ends with the end-of-text token, also where it was cut.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.errors import UserError
from finetune_trainer.data.encode import IDS, require_end


class PairEncoder:
    """Encodes contents of the layout SourceTarget; ``labels`` are the target's tokens."""

    schema = pa.schema([IDS, ("labels", pa.list_(pa.int32()))])

    def __init__(self, tokenizer: Any, uri: str) -> None:
        """UserError when the tokenizer cannot write targets; ``uri`` is the model's."""
        self.tokenizer, self.end = tokenizer, require_end(tokenizer, uri)
        try:
            self._targets(["1"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"model.uri {uri}: the tokenizer cannot write a target: {error!r}"[:600],
                "set src_lang and tgt_lang in tokenizer_config.json to languages that it knows",
            ) from error

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        return self._batch(*self._ids(contents))

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long sources and targets are tokenised anew, so that they are closed as short ones."""
        columns = [column.to_pylist() for column in batch.columns]
        again = self._ids([contents[int(row)].as_py() for row in over], max_length)
        for column, cut in zip(columns, again, strict=True):
            for row, ids in zip(over, cut, strict=True):
                column[row] = ids
        return self._batch(*columns)

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []

    def _ids(
        self, contents: list[str], max_length: int | None = None
    ) -> tuple[list[list[int]], list[list[int]]]:
        pairs = [json.loads(content) for content in contents]
        sources = self._plain([source for source, _ in pairs], max_length)
        return sources, self._targets([target for _, target in pairs], max_length)

    def _plain(self, texts: list[str], max_length: int | None) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, **_options(max_length))["input_ids"]
        return ids

    def _targets(self, texts: list[str], max_length: int | None = None) -> list[list[int]]:
        # mBART writes the language after the end.
        rows = self.tokenizer(text_target=texts, **_options(max_length))["input_ids"]
        return [
            ids if self.end in ids[-2:] else [*ids[: max_length and max_length - 1], self.end]
            for ids in rows
        ]

    def _batch(self, sources: list[list[int]], targets: list[list[int]]) -> pa.RecordBatch:
        columns = [
            pa.array(rows, field.type)
            for rows, field in zip((sources, targets), self.schema, strict=True)
        ]
        return pa.record_batch(columns, schema=self.schema)


def _options(max_length: int | None) -> dict[str, Any]:
    cut = {"truncation": True, "max_length": max_length} if max_length else {}
    return {
        "add_special_tokens": True, "padding": False, "return_attention_mask": False,
        "return_token_type_ids": False, "verbose": False, **cut,
    }  # fmt: skip
