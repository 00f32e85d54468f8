"""Texts with several labels, or with a number, as token ids."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_trainer.data.encode import IDS, TextEncoder

LABELS = pa.field("labels", pa.list_(pa.int64()))
NUMBER = pa.field("labels", pa.float64())


class LabelledTextEncoder:
    """Encodes what ``LabelLists`` and ``Numbers`` make: ``labels`` are the numbers of a row's
    labels, or its number where there are no names."""

    def __init__(self, tokenizer: Any, names: list[str]) -> None:
        self._texts = TextEncoder(tokenizer)
        self._place = {name: number for number, name in enumerate(names)}
        self.schema = pa.schema([IDS, LABELS if names else NUMBER])

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Token ids and labels of every text."""
        documents = [json.loads(content) for content in contents]
        texts = self._texts.encode([document["text"] for document in documents])
        return self._with(texts, [self._labels(document) for document in documents])

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long texts lose their end and keep their labels."""
        texts = pa.array([json.loads(content)["text"] for content in contents.to_pylist()])
        ids = pa.record_batch([batch.column(0)], schema=self._texts.schema)
        cut = self._texts.cut(ids, over, texts, max_length)
        return self._with(cut, batch.column(1).to_pylist())

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []

    def _labels(self, document: dict[str, Any]) -> list[int] | float:
        if not self._place:
            number: float = document["number"]
            return number
        return [self._place[name] for name in document["labels"]]

    def _with(self, texts: pa.RecordBatch, labels: list[Any]) -> pa.RecordBatch:
        column = pa.array(labels, self.schema.field("labels").type)
        return pa.record_batch([texts.column(0), column], schema=self.schema)
