"""Prompts that a model is to answer by itself, some with the answer that is right."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Columns
from finetune_trainer.data.encode import IDS, require_end
from finetune_trainer.data.row import Row, Tell, sound_text

REFERENCE = pa.field("reference", pa.string())


class Prompt:
    """What is asked."""

    roles = ("prompt",)
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The prompt, as a JSON list."""
        prompt = sound_text(record[self.columns.prompt], self.columns.prompt, tell)
        if prompt is None:
            return None
        return Row(json.dumps([prompt], ensure_ascii=False), prompt, "")


class PromptEncoder:
    """Encodes contents of the layouts Prompt and PromptCompletion: the prompt's tokens, and the
    right answer as text, empty where there is none."""

    schema = pa.schema([IDS, REFERENCE])

    def __init__(self, tokenizer: Any, uri: str) -> None:
        self.tokenizer, self.end = tokenizer, require_end(tokenizer, uri)

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        rows = [json.loads(content) for content in contents]
        ids = self.tokenizer(
            [row[0] for row in rows], add_special_tokens=True, padding=False, truncation=False,
            return_attention_mask=False, return_token_type_ids=False, verbose=False,
        )["input_ids"]  # fmt: skip
        asked = [one[:-1] if one[-1:] == [self.end] else one for one in ids]
        return self._batch(asked, ["".join(row[1:]) for row in rows])

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long prompts lose their beginning: what is asked mostly stands at the end."""
        ids = [one[-max_length:] for one in batch.column(IDS.name).to_pylist()]
        return self._batch(ids, batch.column(REFERENCE.name).to_pylist())

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []

    def _batch(self, ids: list[list[int]], references: list[str]) -> pa.RecordBatch:
        columns = [pa.array(ids, IDS.type), pa.array(references, REFERENCE.type)]
        return pa.record_batch(columns, schema=self.schema)
