"""Questions with their contexts as token ids, and long contexts as windows that overlap.

Every window holds the whole question and a stretch of the context, and knows its question. Where
a window does not hold the whole answer, it points at its first token, which means: not here.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.errors import UserError
from finetune_trainer.data.encode import IDS

TOKENS = pa.list_(pa.int32())
SCHEMA = pa.schema([
    IDS, ("segments", TOKENS), ("starts", TOKENS), ("ends", TOKENS),
    ("labels", pa.list_(pa.int32(), 2)), ("first", pa.int32()), ("last", pa.int32()),
    ("question", pa.int32()), ("has_answer", pa.bool_()), ("document", pa.string()),
])  # fmt: skip
"""``segments`` are the tokenizer's token types; ``starts`` and ``ends`` the tokens' places in
characters; ``labels`` the answer's first and last token, 0 where there is none and -1 where it lies
in no window; context tokens go from ``first`` to ``last``; ``question`` numbers the row that was
read, whose content the first of its windows has as ``document``."""
NOWHERE, LOST = 0, -1
OVERLAP = 3
"""Windows share a third of what they may hold, as in most published results (128 of 384)."""
LEAST_CONTEXT = 4
"""A question may leave a quarter of maxLength to the context, or more."""

Columns = dict[str, list[Any]]


class WindowEncoder:
    """Encodes contents of the layout Answers. Rows are numbered as they come."""

    schema = SCHEMA

    def __init__(self, tokenizer: Any, uri: str) -> None:
        """UserError when the tokenizer cannot say where its tokens stand; ``uri`` is the
        model's."""
        if not tokenizer.is_fast:
            raise UserError(
                f"model.uri {uri}: the tokenizer does not tell where tokens stand in the text",
                "give the model a fast tokenizer (tokenizer.json)",
            )
        self.tokenizer, self._next = tokenizer, 0

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows with their whole contexts."""
        documents = [json.loads(content) for content in contents]
        encoded = self.tokenizer(
            [question for question, *_ in documents], [context for _, context, *_ in documents],
            add_special_tokens=True, padding=False, truncation=False, verbose=False,
            return_attention_mask=False, return_token_type_ids=True, return_offsets_mapping=True,
        )  # fmt: skip
        rows = []
        for number, (_, _, texts, offsets) in enumerate(documents):
            ids, places = encoded["input_ids"][number], encoded["offset_mapping"][number]
            of_context = [at for at, part in enumerate(encoded.sequence_ids(number)) if part == 1]
            first, last = (
                (of_context[0], of_context[-1]) if of_context else (len(ids), len(ids) - 1)
            )
            label = (NOWHERE, NOWHERE)
            if texts:
                label = _label(places, first, last, offsets[0], offsets[0] + len(texts[0]))
            rows.append((
                ids, encoded["token_type_ids"][number], [a for a, _ in places],
                [b for _, b in places], label, first, last, self._next, bool(texts),
                contents[number],
            ))  # fmt: skip
            self._next += 1
        return _batch(rows)

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Of every row its first window."""
        windows, origins = split(batch, max_length)
        return windows.take(pa.array(np.searchsorted(origins, np.arange(batch.num_rows))))

    def notes(self) -> list[str]:
        """Nothing to say."""
        return []


def lost(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """True for windows of a row whose answer lies whole in none of them."""
    labels: NDArray[np.int32] = batch.column("labels").flatten().to_numpy().reshape(-1, 2)
    return labels[:, 0] == LOST


def split(batch: pa.RecordBatch, max_length: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """The batch with long rows as several windows of at most ``max_length`` tokens, and the row
    that each came from."""
    rows, origins = [], []
    for number, row in enumerate(zip(*(c.to_pylist() for c in batch.columns), strict=True)):
        windows = _windows(row, max_length) if len(row[0]) > max_length else [row]
        rows += windows
        origins += [number] * len(windows)
    return _batch(rows), np.array(origins, np.int64)


def _windows(row: tuple[Any, ...], max_length: int) -> list[tuple[Any, ...]]:
    *tokens, (start, end), first, last, question, has_answer, document = row
    room = max_length - (len(tokens[0]) - (last - first + 1))
    if room < max_length // LEAST_CONTEXT:
        # The question fills the window: what is left of the context could not answer it.
        cut = [column[:max_length] for column in tokens]
        return [
            (*cut, (LOST, LOST), first, min(last, max_length - 1), question, has_answer, document)
        ]
    step = room - min(max_length // OVERLAP, room // 2)
    windows, begin = [], first
    while True:
        stop = min(begin + room, last + 1)
        pieces = [column[:first] + column[begin:stop] + column[last + 1 :] for column in tokens]
        held = start > NOWHERE and begin <= start and end < stop
        label = (start - begin + first, end - begin + first) if held else (NOWHERE, NOWHERE)
        windows.append(
            (*pieces, label, first, first + stop - begin - 1, question, has_answer, document)
        )
        document = ""
        if stop > last:
            break
        begin += step
    if start != NOWHERE and not any(window[4] != (NOWHERE, NOWHERE) for window in windows):
        windows = [(*window[:4], (LOST, LOST), *window[5:]) for window in windows]
    return windows


def _label(
    places: list[tuple[int, int]], first: int, last: int, begin: int, end: int
) -> tuple[int, int]:
    """First and last context token that reach into the characters from ``begin`` to ``end``."""
    touched = [at for at in range(first, last + 1) if places[at][0] < end and places[at][1] > begin]
    return (touched[0], touched[-1]) if touched else (LOST, LOST)


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [
        pa.array([row[number] for row in rows], field.type) for number, field in enumerate(SCHEMA)
    ]
    return pa.record_batch(columns, schema=SCHEMA)
