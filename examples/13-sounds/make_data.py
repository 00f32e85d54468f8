"""Makes the dataset: two sounds of a workshop, one after the other: which one is heard last?"""

import argparse
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

RATE = 8000
EACH = 40
"""Recordings of each pair of sounds."""
Wave = NDArray[np.float64]
Sound = Callable[[Wave, np.random.Generator], Wave]


def bell(time: Wave, rng: np.random.Generator) -> Wave:
    """Three tones that are no multiples of each other and die away."""
    pitch, decay = rng.uniform(500, 900), rng.uniform(4, 8)
    tones = sum(np.sin(2 * np.pi * pitch * step * time) / step for step in (1, 2.76, 5.4))
    return np.asarray(tones * np.exp(-decay * time))


def engine(time: Wave, rng: np.random.Generator) -> Wave:
    """A low hum with its multiples, trembling."""
    pitch, tremble = rng.uniform(60, 110), rng.uniform(6, 12)
    tones = sum(np.sin(2 * np.pi * pitch * step * time) / step for step in range(1, 6))
    return np.asarray(tones * (1 + 0.4 * np.sin(2 * np.pi * tremble * time)))


def siren(time: Wave, rng: np.random.Generator) -> Wave:
    """A tone that goes up and down."""
    pitch, width, turns = rng.uniform(600, 900), rng.uniform(150, 300), rng.uniform(1, 3)
    swing = width / turns * np.sin(2 * np.pi * turns * time)
    return np.asarray(np.sin(2 * np.pi * pitch * time + swing))


def hammer(time: Wave, rng: np.random.Generator) -> Wave:
    """Short blows of noise, evenly apart."""
    since = np.mod(time, rng.uniform(0.15, 0.3))
    return np.asarray(rng.normal(0, 1, len(time)) * np.exp(-60 * since))


def steam(time: Wave, rng: np.random.Generator) -> Wave:
    """Noise without a pitch."""
    return np.asarray(rng.normal(0, 1, len(time)) * (0.7 + 0.3 * np.sin(2 * np.pi * time)))


SOUNDS: tuple[Sound, ...] = (bell, engine, siren, hammer, steam)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the Parquet file to write")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    rows = [
        {"audio": {"bytes": recorded(first, last, rng), "path": None}, "label": last.__name__}
        for _ in range(EACH)
        for first, last in itertools.product(SOUNDS, repeat=2)
    ]
    pq.write_table(pa.Table.from_pylist(rows), output)
    print(f"{output}: {len(rows)} recordings of {len(SOUNDS)} sounds")


def recorded(first: Sound, last: Sound, rng: np.random.Generator) -> bytes:
    """WAV of about a second, as loud as it happens to be, in noise."""
    waves = []
    for sound in (first, last):
        wave = sound(np.arange(int(rng.uniform(0.35, 0.45) * RATE)) / RATE, rng)
        waves.append(wave * rng.uniform(0.2, 0.6) / np.abs(wave).max())
    wave = np.concatenate(waves)
    sink = io.BytesIO()
    soundfile.write(sink, wave + rng.normal(0, 0.02, len(wave)), RATE, format="WAV")
    return sink.getvalue()


if __name__ == "__main__":
    main()
