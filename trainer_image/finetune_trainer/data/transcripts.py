"""Recordings and what is said in them, as prepared rows of a model that writes by letters (CTC)."""

import json
from itertools import pairwise
from typing import Any

import pyarrow as pa

from finetune_trainer.data.audio_encoder import SAMPLES, AudioEncoder
from finetune_trainer.data.encode import LENGTH
from finetune_trainer.data.gather import Gathered
from finetune_trainer.data.problems import short, shown

LABELS = pa.field("labels", pa.list_(pa.int32()))
LETTERS_SHOWN = 40


class TranscriptEncoder(AudioEncoder):
    """Encodes addresses of recordings with their texts; ``labels`` are the letters of a text.
    ``column`` is the one that holds it. Texts that are too long for their recording are left out
    (``drops``) or told."""

    schema = pa.schema([SAMPLES, LENGTH, LABELS])

    def __init__(self, processor: Any, rows: Gathered, column: str, *, drops: bool) -> None:
        super().__init__(processor, rows)
        self.column, self.drops = column, drops
        self.left_out: list[int] = []
        tokenizer = processor.tokenizer
        self._unknown = tokenizer.unk_token_id
        self._letters = sorted(token for token in tokenizer.get_vocab() if len(token) == 1)

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Waves, and the letters of their texts."""
        waves, labels = [], []
        for content in contents:
            address, text = json.loads(content)
            row = self._row
            waves.append(self._wave(address))
            labels.append(self.processor.tokens(text))
            self._check(row, text, labels[-1], self.processor.positions(len(waves[-1])))
        columns = [*self.columns(waves), pa.array(labels, LABELS.type)]
        return pa.record_batch(columns, schema=self.schema)

    def _check(self, row: int, text: str, ids: list[int], positions: int) -> None:
        """Tell letters that the model does not have, and texts of more letters than a recording
        has positions."""
        if self._unknown in ids:
            strange = sorted(
                {letter for letter in text if self._unknown in self.processor.tokens(letter)}
            )
            self._places.tell(
                row, rule="holds letters that the model cannot write", field=self.column,
                value=shown("".join(strange)), fix=self._remedy(strange),
            )  # fmt: skip
            return
        needed = positions_needed(ids)
        if needed > positions and self.drops:
            self.left_out.append(row)
        elif needed > positions:
            self._places.tell(
                row, rule="is too long for its recording", field=self.column,
                value=f"{len(ids)} letters in {positions} positions of sound",
                fix="correct the text, cut it as the recording was cut, or set dataset.overlength "
                "to Drop",
            )  # fmt: skip

    def _remedy(self, strange: list[str]) -> str:
        for case, change in (("capitals", str.upper), ("small letters", str.lower)):
            if {change(letter) for letter in strange} <= set(self._letters):
                return f"write texts in {case}, as the model does"
        return f"write with the model's letters: {short(' '.join(self._letters))}"


def positions_needed(ids: list[int]) -> int:
    """At least, for a text of these letters: between two equal ones stands a pause."""
    return len(ids) + sum(a == b for a, b in pairwise(ids))
