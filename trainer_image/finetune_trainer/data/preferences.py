"""Prompts with a better and a worse answer, as token ids."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Mask
from finetune_api.learning import Layout
from finetune_trainer.data.answers import SCHEMA, AnswerEncoder, Encoded, batch_of

REJECTED = pa.field("rejected_ids", pa.list_(pa.int32()))


class PreferenceEncoder(AnswerEncoder):
    """Encodes contents of the layout Preference: the columns of prompt and chosen answer as for
    any answer, and ``rejected_ids``, the same prompt with the rejected one."""

    schema = SCHEMA.append(REJECTED)

    def __init__(self, tokenizer: Any, uri: str) -> None:
        super().__init__(Layout.PREFERENCE, Mask.COMPLETION, tokenizer, uri)

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        rows = [json.loads(content) for content in contents]
        chosen = self._completions([(prompt, better) for prompt, better, _ in rows])
        rejected = self._completions([(prompt, worse) for prompt, _, worse in rows])
        return self._both(chosen, [ids for ids, _, _ in rejected])

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Both answers lose their end; what is left of them is still compared."""
        cut = super().cut(batch.select(SCHEMA.names), over, contents, max_length)
        rejected = [ids[:max_length] for ids in batch.column(REJECTED.name).to_pylist()]
        return self._joined(cut, rejected)

    def _both(self, chosen: list[Encoded], rejected: list[list[int]]) -> pa.RecordBatch:
        return self._joined(batch_of(chosen), rejected)

    def _joined(self, batch: pa.RecordBatch, rejected: list[list[int]]) -> pa.RecordBatch:
        columns = [*batch.columns, pa.array(rejected, REJECTED.type)]
        return pa.record_batch(columns, schema=self.schema)
