"""Recordings and what is said in them, as prepared rows of a model with a decoder (Whisper)."""

import json
from typing import Any

import pyarrow as pa

from finetune_trainer.data.audio_encoder import SAMPLES, AudioEncoder
from finetune_trainer.data.encode import LENGTH
from finetune_trainer.data.gather import Gathered

LABELS = pa.field("labels", pa.list_(pa.int32()))
OR_DROP = "or set dataset.overlength to Drop"


class DictationEncoder(AudioEncoder):
    """Encodes addresses of recordings with their texts; ``labels`` are the tokens of a text and its
    end, ``length`` the decoder's positions. ``column`` is the one that holds the text.

    A row that the model cannot take whole is left out (``drops``) or told: of a cut recording, the
    text would say what is not heard.
    """

    schema = pa.schema([SAMPLES, LENGTH, LABELS])

    def __init__(self, processor: Any, rows: Gathered, column: str, *, drops: bool) -> None:
        super().__init__(processor, rows)
        self.column, self.drops = column, drops
        self.left_out: list[int] = []

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Waves, and the tokens of their texts."""
        waves, labels, lengths = [], [], []
        for content in contents:
            address, text = json.loads(content)
            row = self._row
            waves.append(self._wave(address))
            labels.append(self.processor.tokens(text))
            lengths.append(len(self.processor.beginning) - 1 + len(labels[-1]))
            if self._is_too_long(row, len(waves[-1]) / self.processor.rate, lengths[-1]):
                self.left_out.append(row)
        columns = [
            pa.array([wave.tobytes() for wave in waves], SAMPLES.type),
            pa.array(lengths, LENGTH.type), pa.array(labels, LABELS.type),
        ]  # fmt: skip
        return pa.record_batch(columns, schema=self.schema)

    def notes(self) -> list[str]:
        """How long recordings are."""
        return super().notes()[:1]

    def _is_too_long(self, row: int, seconds: float, tokens: int) -> bool:
        """Is a row too long for the model? Told where it is not left out."""
        most, room = self.processor.longest_seconds, self.processor.longest_tokens
        told: dict[str, str] = {}
        if seconds > most:
            told = {
                "rule": f"is longer than the {most:g} s that the model hears",
                "value": f"{seconds:.1f} s", "fix": f"cut it into pieces, {OR_DROP}",
            }  # fmt: skip
        elif tokens > room:
            told = {
                "rule": f"is longer than the {room} tokens that the model writes",
                "field": self.column, "value": f"{tokens} tokens",
                "fix": f"cut recording and text into pieces, {OR_DROP}",
            }  # fmt: skip
        if told and not self.drops:
            self._places.tell(row, **told)
        return bool(told)
