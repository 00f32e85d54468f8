"""How a model is given recordings: at its sampling rate, and as long as the longest of the batch.

Each recording is made ready alone, so that what the model is given of it does not depend on the
others. A model that is not told what is padding (wav2vec2 with group norms, AST, Whisper) sees
padding as silence: all its rows are padded to one length, or its losses would depend on how a batch
is shared.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_api.errors import UserError
from finetune_trainer.model import checks

Samples = NDArray[np.float32]
FRAMES_A_SECOND = 100
"""Of a spectrogram by Kaldi's rules, which is what AST reads."""


class AudioProcessor:
    """A model's feature extractor. It stands where other tasks have a tokenizer."""

    pad_token_id = None

    def __init__(self, extractor: Any, config: Any) -> None:
        self.extractor, self.config = extractor, config
        self.rate: int = extractor.sampling_rate

    @classmethod
    def read(cls, folder: Path, uri: str) -> Self:
        """UserError when the model's folder does not say how recordings are made ready."""
        from transformers import AutoFeatureExtractor

        try:
            extractor = AutoFeatureExtractor.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:
            raise UserError(
                f"model.uri {uri}: the feature extractor cannot be loaded: {error}"[:600],
                "copy preprocessor_config.json of the model",
            ) from error
        return cls(extractor, checks.read_config(folder, uri))

    @property
    def longest_seconds(self) -> float | None:
        """What the extractor cuts recordings to; None: nothing is cut."""
        window = getattr(self.extractor, "chunk_length", None)
        if window is not None:
            return float(window)
        frames = getattr(self.extractor, "max_length", None)
        return frames / FRAMES_A_SECOND if isinstance(frames, int) else None

    def positions(self, samples: int) -> int:
        """At how many places the model looks, in a recording of so many samples."""
        config = self.config
        if hasattr(config, "conv_stride"):
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                samples = (samples - kernel) // stride + 1
            return samples
        if hasattr(config, "max_source_positions"):
            return int(config.max_source_positions)
        bins, frames = config.num_mel_bins, config.max_length
        across = (bins - config.patch_size) // config.frequency_stride + 1
        along = (frames - config.patch_size) // config.time_stride + 1
        return across * along

    @property
    def fewest_positions(self) -> int:
        """What a recording must have: in training, wav2vec2 hides so many positions in a row."""
        config = self.config
        hides = getattr(config, "mask_time_prob", 0) and getattr(config, "apply_spec_augment", True)
        return int(config.mask_time_length) + 1 if hides else 1

    def features(self, recordings: Sequence[Samples], longest: int) -> dict[str, torch.Tensor]:
        """What the model is given: ``input_values`` [recordings, samples], or a spectrogram of
        each, and ``attention_mask`` where it takes one. ``longest`` of all rows, in samples."""
        each = [
            self.extractor(recording, sampling_rate=self.rate, return_tensors="np")
            for recording in recordings
        ]
        name = self.extractor.model_input_names[0]
        rows = [one[name][0] for one in each]
        masked = bool(getattr(self.extractor, "return_attention_mask", False))
        length = max(map(len, rows)) if masked or rows[0].ndim > 1 else longest
        padding = self.extractor.padding_value
        values = np.full((len(rows), length, *rows[0].shape[1:]), padding, np.float32)
        mask = np.zeros((len(rows), length), np.int64)
        for number, row in enumerate(rows):
            values[number, : len(row)] = row
            mask[number, : len(row)] = 1
        batch = {name: torch.from_numpy(values)}
        return batch | {"attention_mask": torch.from_numpy(mask)} if masked else batch

    def save_pretrained(self, folder: Path) -> None:
        """As other programs read it."""
        self.extractor.save_pretrained(folder)
