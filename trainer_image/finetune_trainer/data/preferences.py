"""Prompts with a better and a worse answer, as token ids."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Mask
from finetune_api.learning import Layout
from finetune_trainer.data.answers import SCHEMA, AnswerEncoder, Encoded, batch_of
from finetune_trainer.data.encode import IGNORED

REJECTED = pa.field("rejected_ids", pa.list_(pa.int32()))


class PreferenceEncoder(AnswerEncoder):
    """Encodes contents of the layouts Preference and PreferenceMessages: the columns of prompt and
    chosen answer as for any answer, and ``rejected_ids``, the same prompt with the rejected one."""

    schema = SCHEMA.append(REJECTED)

    def __init__(self, layout: Layout, tokenizer: Any, uri: str) -> None:
        super().__init__(layout, Mask.COMPLETION, tokenizer, uri)

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        rows = [json.loads(content) for content in contents]
        if self.layout is Layout.PREFERENCE_MESSAGES:
            both = [self._messages([row[side] for row in rows]) for side in (0, 1)]
            pairs = [self._alike(*row) for row in zip(rows, *both, strict=True)]
            return self._both([one for one, _ in pairs], [ids for _, (ids, _, _) in pairs])
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

    def _alike(
        self, turns: list[list[dict[str, str]]], chosen: Encoded, rejected: Encoded
    ) -> tuple[Encoded, Encoded]:
        """Both conversations with the same tokens before their last answers. Where first characters
        of an answer merged with what is before, answers are tokenised apart."""
        before, length = chosen[0][: chosen[2]], chosen[2]
        if rejected[2] == length and rejected[0][:length] == before:
            return chosen, rejected
        self._joined_apart += 1
        return self._apart(turns[0]), self._apart(turns[1])

    def _apart(self, turns: list[dict[str, str]]) -> Encoded:
        text, ((start, _),) = self._render(turns)
        prompt, answer = self._ids([text[:start], text[start:]], special=False)
        if self._special.isdisjoint(answer):
            answer.append(self.tokenizer.eos_token_id)
        return [*prompt, *answer], [IGNORED] * len(prompt) + answer, len(prompt)

    def _both(self, chosen: list[Encoded], rejected: list[list[int]]) -> pa.RecordBatch:
        return self._joined(batch_of(chosen), rejected)

    def _joined(self, batch: pa.RecordBatch, rejected: list[list[int]]) -> pa.RecordBatch:
        columns = [*batch.columns, pa.array(rejected, REJECTED.type)]
        return pa.record_batch(columns, schema=self.schema)
