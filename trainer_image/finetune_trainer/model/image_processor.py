"""How a model is given images: sized once, in prepare; scaled batch by batch, in training.

Pillow does it, not torchvision: transformers imports torchvision wherever it is installed, and jobs
that read text would pay for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_api.errors import UserError
from finetune_trainer.model import checks

BLOCK = 16
"""Side in pixels of what counts as one position, where a model does not cut images into patches."""


class ImageProcessor:
    """A model's image processor. It stands where other tasks have a tokenizer."""

    pad_token_id = None

    def __init__(self, processor: Any, config: Any) -> None:
        self.processor = processor
        side = getattr(config, "patch_size", None)
        self._side = side if isinstance(side, int) else BLOCK

    @classmethod
    def read(cls, folder: Path, uri: str) -> "ImageProcessor":
        """UserError when the model's folder does not say how images are made ready."""
        from transformers import AutoImageProcessor

        try:
            processor = AutoImageProcessor.from_pretrained(
                folder, backend="pil", trust_remote_code=False, local_files_only=True
            )
        except Exception as error:
            raise UserError(
                f"model.uri {uri}: the image processor cannot be loaded: {error}"[:600],
                "copy preprocessor_config.json of the model",
            ) from error
        return cls(processor, checks.read_config(folder, uri))

    def sized(self, image: Any) -> NDArray[np.uint8]:
        """A Pillow image in the size that the model takes [height, width, 3]."""
        given = self.processor(image, do_rescale=False, do_normalize=False, return_tensors="np")
        (channels,) = given["pixel_values"]
        return np.ascontiguousarray(channels.transpose(1, 2, 0))

    def scaled(self, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """What the model is given of sized images [images, 3, height, width]."""
        given = self.processor(
            list(images), do_resize=False, do_center_crop=False, return_tensors="pt",
            input_data_format="channels_last",
        )  # fmt: skip
        values: torch.Tensor = given["pixel_values"]
        return values

    def positions(self, height: int, width: int) -> int:
        """At how many places the model looks."""
        return max(1, height // self._side) * max(1, width // self._side)

    def save_pretrained(self, folder: Path) -> None:
        """As other programs read it."""
        self.processor.save_pretrained(folder)
