"""Recordings as they might have been made as well: in noise, and faster or slower."""

from collections.abc import Callable
from typing import Any

import numpy as np

from finetune_api.augmentation import AudioAugmentation
from finetune_trainer.data.sounds import Samples

Fits = Callable[[int], bool]
"""Whether a recording of so many samples still holds what is said in it."""


def changed(
    wave: Samples, settings: AudioAugmentation, rng: np.random.Generator, longest: int, fits: Fits
) -> Samples:
    """Another version of a recording, in [-1, 1]. Every amount is drawn, whether it is wanted or
    not: one more setting leaves the others' draws as they are.

    It never gets longer than ``longest``, which is what memory was planned for, nor so short that
    it no longer ``fits``: then its speed stays.
    """
    speed, loudness = rng.random(2)
    if settings.speed is not None:
        wave = _faster(wave, settings.speed.slowest, settings.speed.fastest, speed, longest, fits)
    if settings.noise is not None:
        low, high = settings.noise.lowest, settings.noise.highest
        wave = _noisy(wave, low + (high - low) * loudness, rng)
    return wave


def _faster(
    wave: Samples, slowest: float, fastest: float, drawn: float, longest: int, fits: Fits
) -> Samples:
    """Speed and pitch change together, as when a tape runs faster."""
    import soxr

    factor = max(slowest + (fastest - slowest) * drawn, len(wave) / longest)
    found: Any = soxr.resample(wave, factor, 1.0)
    found = np.clip(found[:longest], -1, 1)
    return found.astype(np.float32) if fits(len(found)) else wave


def _noisy(wave: Samples, ratio: float, rng: np.random.Generator) -> Samples:
    """White noise, ``ratio`` decibels below the recording's mean power."""
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    noise = rng.normal(0, np.sqrt(power / 10 ** (ratio / 10)), len(wave))
    return np.clip(wave + noise, -1, 1).astype(np.float32)
