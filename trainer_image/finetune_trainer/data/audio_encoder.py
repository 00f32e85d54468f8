"""Recordings as prepared rows: one channel at the model's sampling rate, in sixteen bits."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_trainer.data import media, sounds
from finetune_trainer.data.encode import LENGTH
from finetune_trainer.data.gather import Gathered

SAMPLES = pa.field("samples", pa.binary())
"""Sixteen-bit numbers, little-endian."""
FULL_SCALE = 32767.0


class AudioEncoder:
    """Encodes addresses of recordings. ``processor`` is the model's."""

    schema = pa.schema([SAMPLES, LENGTH])

    def __init__(self, processor: Any, rows: Gathered) -> None:
        assert rows.places is not None
        self.processor, self._places = processor, rows.places
        self._row = self._cut_off = 0
        self._seconds = 0.0

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Every recording at the model's rate."""
        waves = [self._wave(content) for content in contents]
        return pa.record_batch(self.columns(waves), schema=self.schema)

    def columns(self, waves: list[NDArray[np.int16]]) -> list[pa.Array]:
        """``samples`` and ``length``."""
        lengths = [self.processor.positions(len(wave)) for wave in waves]
        return [
            pa.array([wave.tobytes() for wave in waves], SAMPLES.type),
            pa.array(lengths, LENGTH.type),
        ]  # fmt: skip

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Nothing is cut: a recording is one thing."""
        return batch

    def refuse(self) -> None:
        """DataError with all recordings that the model cannot take."""
        self._places.problems.raise_any()

    def notes(self) -> list[str]:
        """How long recordings are, and what the model does not hear of them."""
        notes = [f"{self._seconds / 60:.1f} minutes of sound at {self.processor.rate} Hz"]
        if self._cut_off:
            most = self.processor.longest_seconds
            notes.append(
                f"{self._cut_off} recordings are longer than the {most:g} s that the model hears: "
                "they lose their end"
            )
        return notes

    def _wave(self, address: str) -> NDArray[np.int16]:
        processor, row = self.processor, self._row
        self._row += 1
        found = sounds.samples(media.read(address), processor.rate)
        seconds = len(found) / processor.rate
        if processor.positions(len(found)) < processor.fewest_positions:
            self._places.tell(
                row, rule="is too short for the model", value=f"{seconds:.3f} s",
                fix="remove recordings that are shorter than a syllable",
            )  # fmt: skip
        most = processor.longest_seconds
        self._cut_off += most is not None and seconds > most
        self._seconds += seconds
        return in_sixteen_bits(found)


def in_sixteen_bits(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    """A wave as prepared rows hold it."""
    return np.round(np.clip(wave, -1, 1) * FULL_SCALE).astype("<i2")


def samples_of(row: dict[str, Any]) -> NDArray[np.float32]:
    """The wave of a prepared row."""
    return np.frombuffer(row["samples"], "<i2").astype(np.float32) / np.float32(FULL_SCALE)
