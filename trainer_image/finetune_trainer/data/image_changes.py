"""Images as they might have been taken as well."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.augmentation import ImageAugmentation

Pixels = NDArray[np.uint8]


def changed(pixels: Pixels, settings: ImageAugmentation, rng: np.random.Generator) -> Pixels:
    """The image [height, width, 3] in another version of the same size. Every amount is drawn,
    whether it is wanted or not: one more setting leaves the others' draws as they are."""
    from PIL import Image, ImageEnhance

    image: Any = Image.fromarray(pixels)
    mirrored, turn, cut, left, top, light, contrast = rng.random(7)
    if settings.flip and mirrored < 1 / 2:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if settings.rotate:
        angle = settings.rotate * (2 * turn - 1)
        image = image.rotate(angle, resample=Image.Resampling.BILINEAR)
    if settings.crop:
        kept = 1 - settings.crop * cut
        size = image.width * kept, image.height * kept
        x, y = left * (image.width - size[0]), top * (image.height - size[1])
        box = (x, y, x + size[0], y + size[1])
        image = image.resize(image.size, Image.Resampling.BILINEAR, box=box)
    if settings.brightness:
        image = ImageEnhance.Brightness(image).enhance(1 + settings.brightness * (2 * light - 1))
    if settings.contrast:
        image = ImageEnhance.Contrast(image).enhance(1 + settings.contrast * (2 * contrast - 1))
    return np.asarray(image)
