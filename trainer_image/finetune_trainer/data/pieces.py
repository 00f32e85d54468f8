"""Plain texts as token ids, and long ones as several pieces: every token is learnt once.

A piece starts with the last token of the piece before it, which is context there and not learnt
again: only so does the first new token of the piece have something to follow.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Mask
from finetune_api.learning import Layout
from finetune_trainer.data.answers import AnswerEncoder, Encoded, batch_of
from finetune_trainer.data.encode import IGNORED


class PieceEncoder(AnswerEncoder):
    """Encodes contents of the layout Text; each ends with the end-of-text token."""

    def __init__(self, tokenizer: Any, uri: str) -> None:
        super().__init__(Layout.TEXT, Mask.ALL, tokenizer, uri)

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows whole."""
        eos = self.tokenizer.eos_token_id
        rows = [
            ids if ids[-1:] == [eos] else [*ids, eos] for ids in self._ids(contents, special=True)
        ]
        return batch_of([(ids, ids, 0) for ids in rows])


def split(batch: pa.RecordBatch, max_length: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """The batch with long rows as several of at most ``max_length`` tokens, and the row that each
    came from."""
    rows: list[Encoded] = []
    origins: list[int] = []
    for number, ids in enumerate(batch.column("input_ids").to_pylist()):
        for start in range(0, max(1, len(ids) - 1), max_length - 1):
            piece = ids[start : start + max_length]
            rows.append((piece, [IGNORED if start else piece[0], *piece[1:]], 0))
            origins.append(number)
    return batch_of(rows), np.array(origins, np.int64)
