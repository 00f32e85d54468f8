"""Is a recording sound, and what is in it: one channel at the model's sampling rate."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import Tell

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
MOST_SECONDS = 1800
"""Length of a recording at most: it is held in memory while it is looked at."""
SILENCE = 1e-4
"""Largest amplitude, of 1, below which nothing is heard: three steps of 16 bits."""
AGAIN_FIX = "copy the recording again, or remove the row"
PROMISED_MORE = "(should be "
"""What libsndfile notes where a header promises more bytes than there are."""

Samples = NDArray[np.float32]


def is_sound(data: bytes, field: str, tell: Tell) -> bool:
    """Whether the recording can be decoded to its end and holds something; what is wrong is
    told."""
    from soundfile import LibsndfileError, SoundFile

    def damaged(why: str) -> bool:
        tell(rule="is a damaged or cut off recording", field=field, value=why, fix=AGAIN_FIX)
        return False

    try:
        with SoundFile(BytesIO(data)) as file:
            rate, frames, notes = file.samplerate, file.frames, file.extra_info
            if frames > MOST_SECONDS * rate:
                tell(
                    rule=f"is a recording of more than {MOST_SECONDS // 60} minutes", field=field,
                    value=f"{frames / rate / 60:.0f} minutes", fix="cut it into pieces",
                )  # fmt: skip
                return False
            samples = file.read(dtype="float32", always_2d=True)
    except LibsndfileError as error:
        if not _looks_like_sound(data):
            tell(
                rule="is no recording that can be read", field=field,
                fix="save it as WAV or FLAC", value=f"its first bytes are {shown(data[:12])}",
            )  # fmt: skip
            return False
        return damaged(error.error_string.strip().rstrip("."))
    if PROMISED_MORE in notes or len(samples) < frames:
        return damaged(f"{len(samples)} samples are there")
    if not len(samples):
        tell(rule="is a recording of no length", field=field, fix=AGAIN_FIX)
        return False
    if not np.isfinite(samples).all():
        tell(rule="holds samples that are no numbers", field=field, fix=AGAIN_FIX)
        return False
    if np.abs(samples).max() < SILENCE:
        tell(
            rule="is silent", field=field, value=f"{len(samples) / rate:.1f} s",
            fix="remove the row, or record it again",
        )  # fmt: skip
        return False
    return True


def samples(data: bytes, rate: int) -> Samples:
    """The recording in one channel at ``rate`` samples a second."""
    import soundfile
    import soxr

    read, own = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    mono = read.mean(axis=1)
    found: Any = mono if own == rate else soxr.resample(mono, own, rate)
    return np.asarray(found, np.float32)


def _looks_like_sound(data: bytes) -> bool:
    starts = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b"\xff\xfb", b"\xff\xf3")
    return data.startswith(starts)
