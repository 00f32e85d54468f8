"""Is an image sound, and what is in it as the model wants it: eight bits of red, green and blue."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import Tell

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What Pillow calls the formats that are read: the usual ones, none that runs a program."""
FORMAT_FIX = "save the image as PNG or JPEG"
AGAIN_FIX = "copy the image again, or remove the row"
MOST_PIXELS = 100_000_000
"""Pixels of an image at most: a small file may hold one that fills the memory."""
EIGHT_BITS = (
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "CMYK",
    "YCbCr",
    "HSV",
)
"""Pillow's modes that become eight bits without loss; others would be cut off, not scaled."""


def is_sound(data: bytes, field: str, tell: Tell) -> bool:
    """Whether the image can be decoded to its end; what is wrong is told."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _opened(data) as image:
            width, height, mode = image.width, image.height, image.mode
            if width * height > MOST_PIXELS:
                _tell_too_large(f"{width} x {height} pixels", field, tell)
                return False
            if mode not in EIGHT_BITS:
                tell(
                    rule="has more than 8 bits a colour", field=field, value=f"mode {mode}",
                    fix="save the image with 8 bits a colour",
                )  # fmt: skip
                return False
            image.load()
    except UnidentifiedImageError:
        tell(
            rule="is no image that can be read", field=field, fix=FORMAT_FIX,
            value=f"its first bytes are {shown(data[:12])}",
        )  # fmt: skip
        return False
    except Image.DecompressionBombError:
        _tell_too_large("", field, tell)
        return False
    except Exception as error:  # Pillow's decoders raise what they like at damaged bytes.
        why = str(error) or type(error).__name__
        tell(rule="is a damaged or cut off image", field=field, value=why, fix=AGAIN_FIX)
        return False
    return True


def pixels(data: bytes) -> Any:
    """The image as Pillow's RGB image, turned as its camera was held."""
    from PIL import ImageOps

    with _opened(data) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(data), formats=KINDS) as image:
            yield image


def _tell_too_large(size: str, field: str, tell: Tell) -> None:
    tell(
        rule=f"is an image of more than {MOST_PIXELS // 10**6} million pixels", field=field,
        value=size, fix="make the image smaller: models see a few hundred pixels a side",
    )  # fmt: skip
