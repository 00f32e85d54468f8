"""Training recordings that change from pass to pass, where the job wants it."""

from functools import partial
from typing import Any

import numpy as np

from finetune_api.augmentation import AudioAugmentation
from finetune_trainer.data.audio_encoder import in_sixteen_bits, samples_of
from finetune_trainer.data.sound_changes import changed
from finetune_trainer.data.transcripts import positions_needed
from finetune_trainer.evaluate.recordings import longest
from finetune_trainer.model.audio_processor import AudioProcessor
from finetune_trainer.session import Session
from finetune_trainer.visits import changing


def with_changes(
    session: Session, processor: AudioProcessor, parts: dict[str, Any], rows: Any, *, letters: bool
) -> dict[str, Any]:
    """A trainer's arguments ``parts``; ``rows`` of all parts. ``letters``: each position of a
    recording gives one letter of its text at most."""
    augmentation = session.job.spec.dataset.augmentation
    if augmentation is None or augmentation.audio is None:
        return parts
    change = partial(_changed, processor, augmentation.audio, longest(rows), letters)
    return changing(parts, change, session.job.spec.training.seed)


def _changed(
    processor: AudioProcessor, settings: AudioAugmentation, most: int, letters: bool,
    row: dict[str, Any], rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    fewest = processor.fewest_positions
    if letters:
        fewest = max(fewest, positions_needed(row["labels"]))
    wave = changed(
        samples_of(row), settings, rng, most, lambda count: processor.positions(count) >= fewest
    )
    found = {**row, "samples": in_sixteen_bits(wave).tobytes()}
    return found | {"length": processor.positions(len(wave))} if letters else found
