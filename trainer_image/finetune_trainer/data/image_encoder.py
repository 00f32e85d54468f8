"""Images as prepared rows: in the size that the model takes, in eight bits."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.errors import UserError
from finetune_trainer.data import images, media
from finetune_trainer.data.encode import LENGTH

SCHEMA = pa.schema([("pixels", pa.binary()), ("height", pa.int32()), ("width", pa.int32()), LENGTH])
"""``pixels`` are red, green and blue of each pixel, row by row."""


class ImageEncoder:
    """Encodes addresses of images. ``processor`` is the model's, ``uri`` the model's address."""

    schema = SCHEMA

    def __init__(self, processor: Any, uri: str) -> None:
        self.processor, self.uri = processor, uri
        self._size: tuple[int, ...] = ()

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Every image in one and the same size."""
        sized = [self._sized(content) for content in contents]
        height, width, _ = self._size
        count = len(sized)
        columns = [
            pa.array([pixels.tobytes() for pixels in sized], pa.binary()),
            pa.array([height] * count, pa.int32()), pa.array([width] * count, pa.int32()),
            pa.array([self.processor.positions(height, width)] * count, LENGTH.type),
        ]  # fmt: skip
        return pa.record_batch(columns, schema=SCHEMA)

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """No image is too large: all were sized."""
        return batch

    def notes(self) -> list[str]:
        """The size that images have now."""
        height, width, _ = self._size
        return [f"images were made {width} x {height} pixels, as the model takes them"]

    def _sized(self, address: str) -> NDArray[np.uint8]:
        sized: NDArray[np.uint8] = self.processor.sized(images.pixels(media.read(address)))
        self._size = self._size or sized.shape
        if sized.shape != self._size or sized.dtype != np.uint8:
            raise UserError(
                f"model.uri {self.uri}: the image processor leaves images in sizes of their own",
                "let preprocessor_config.json give one size, by size with height and width or by "
                "crop_size",
            )
        return sized
