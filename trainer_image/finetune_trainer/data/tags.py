"""Words with IOB2 tags as token ids: the first token of a word carries its tag.

Texts are tokenised whole, as the model will be given them, and tokens find their words by their
offsets. A word whose characters all went into an earlier word's token has none of its own.
"""

import json
from bisect import bisect_right
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.errors import UserError
from finetune_trainer.data.encode import IDS, IGNORED
from finetune_trainer.data.spans import OUTSIDE

SCHEMA = pa.schema([IDS, ("labels", pa.list_(pa.int32()))])
"""``labels`` are tag numbers at first tokens of words and -100 elsewhere."""


def tag_names(kinds: list[str]) -> list[str]:
    """The tags of kinds of entities, O first."""
    return [OUTSIDE, *(f"{position}-{kind}" for kind in kinds for position in "BI")]


class TagEncoder:
    """Encodes what the layouts Spans and TokenTags make."""

    schema = SCHEMA

    def __init__(self, tokenizer: Any, kinds: list[str], uri: str) -> None:
        """UserError when the tokenizer cannot say where its tokens stand; ``uri`` is the
        model's."""
        if not tokenizer.is_fast:
            raise UserError(
                f"model.uri {uri}: the tokenizer does not tell where tokens stand in the text",
                "give the model a fast tokenizer (tokenizer.json)",
            )
        self.tokenizer = tokenizer
        self._numbers = {tag: number for number, tag in enumerate(tag_names(kinds))}
        self._swallowed = self._cut_off = 0

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        rows = self._rows(contents)
        for content, (_, labels) in zip(contents, rows, strict=True):
            wanted = sum(tag != OUTSIDE for tag in json.loads(content)["tags"])
            self._swallowed += wanted - sum(label > 0 for label in labels)
        return _batch(rows)

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long texts are tokenised anew, so that their last token is the closing one."""
        rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        again = self._rows([contents[int(row)].as_py() for row in over], max_length)
        for row, encoded in zip(over.tolist(), again, strict=True):
            whole = sum(label > 0 for label in rows[row][1])
            self._cut_off += whole - sum(label > 0 for label in encoded[1])
            rows[row] = encoded
        return _batch(rows)

    def notes(self) -> list[str]:
        """Words of entities that the model will not see as such."""
        notes = []
        if self._swallowed:
            notes.append(f"{self._swallowed} words of entities have no token of their own")
        if self._cut_off:
            notes.append(f"{self._cut_off} words of entities stand after maxLength and were cut")
        return notes

    def _rows(
        self, contents: list[str], max_length: int | None = None
    ) -> list[tuple[list[int], list[int]]]:
        documents = [json.loads(content) for content in contents]
        if not documents:
            return []
        cut = {"truncation": True, "max_length": max_length} if max_length else {}
        encoded = self.tokenizer(
            [document["text"] for document in documents], add_special_tokens=True, padding=False,
            return_attention_mask=False, return_token_type_ids=False, return_offsets_mapping=True,
            verbose=False, **cut,
        )  # fmt: skip
        return [
            (ids, self._labels(offsets, document))
            for ids, offsets, document in zip(
                encoded["input_ids"], encoded["offset_mapping"], documents, strict=True
            )
        ]

    def _labels(self, offsets: list[tuple[int, int]], document: dict[str, Any]) -> list[int]:
        """A tag at the first token of each word. A token may begin with spaces, as byte-level and
        sentence-piece ones do: it belongs to the first word that it reaches into."""
        words, tags = document["words"], document["tags"]
        ends = [end for _, end in words]
        labels, done = [], -1
        for start, end in offsets:
            word = bisect_right(ends, start)
            if start < end and done < word < len(words) and words[word][0] < end:
                labels.append(self._numbers[tags[word]])
                done = word
            else:
                labels.append(IGNORED)
        return labels


def _batch(rows: list[tuple[list[int], list[int]]]) -> pa.RecordBatch:
    columns = [
        pa.array([row[number] for row in rows], field.type) for number, field in enumerate(SCHEMA)
    ]
    return pa.record_batch(columns, schema=SCHEMA)
