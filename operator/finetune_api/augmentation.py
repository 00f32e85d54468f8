"""Changed versions of training rows. Field docstrings become the CRD's descriptions.

Opt-in: the best amount depends on the data, and a change can make an answer wrong.
"""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from finetune_api import patterns, rules
from finetune_api.base import Document

Share = Annotated[float, Field(gt=0, le=0.5)]
SameMeaning = Annotated[str, StringConstraints(max_length=253), patterns.SYNONYMS]


class Synonyms(Document):
    """Words that stand for each other."""

    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the words with synonyms that are replaced, chosen at random."""
    words: Annotated[list[SameMeaning], Field(min_length=1, max_length=500)]
    """Words with one meaning, as `- big, large, huge`. Capitals and signs around a word stay. What
    has several words is put in, never looked for."""


class TextAugmentation(Document):
    """Versions of each training text with other words; text is split into words at spaces."""

    copies: Annotated[int, Field(ge=1, le=10)] = 1
    """Changed versions of each training row, beside the row itself. One that equals a text of the
    dataset is left out."""
    swap: Share | None = None
    """Share of the words that change places with the next one, chosen at random."""
    delete: Share | None = None
    """Share of the words that are left out, chosen at random. One word always stays."""
    synonyms: Synonyms | None = None
    """Replaces words by synonyms that you name."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.augmentation.text"))


class ImageAugmentation(Document):
    """Training images as they might have been taken as well: changed anew in each pass, by seed,
    pass and row, so that a resumed run sees the same ones. Each amount is drawn for each image."""

    flip: bool = False
    """Mirrors every other image, left to right. Leave it out where sides mean something, as with
    letters."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Turns by up to so many degrees, either way; corners become black."""
    crop: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Cuts away up to this share of width and height, and enlarges what is left."""
    brightness: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Makes darker or brighter by up to this share."""
    contrast: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Lowers or raises contrast by up to this share."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.augmentation.image"))


class Noise(Document):
    """White noise, by how far below the recording's mean power it is, in decibels. The amount is
    drawn for each recording."""

    lowest: Annotated[float, Field(ge=0, le=80)]
    """The loudest noise, as 10 dB."""
    highest: Annotated[float, Field(ge=0, le=80)]
    """The softest noise, as 30 dB."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.augmentation.audio.noise"))


class Speed(Document):
    """Speed and pitch, which change together. The factor is drawn for each recording, which never
    gets longer than the longest of all, nor too short for its text."""

    slowest: Annotated[float, Field(ge=0.5, le=1)] = 0.9
    """Smallest factor."""
    fastest: Annotated[float, Field(ge=1, le=2)] = 1.1
    """Largest factor."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.augmentation.audio.speed"))


class AudioAugmentation(Document):
    """Training recordings as they might have been made as well: changed anew in each pass, by seed,
    pass and row, so that a resumed run hears the same ones."""

    noise: Noise | None = None
    """Adds noise."""
    speed: Speed | None = None
    """Plays faster or slower."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.augmentation.audio"))


class Augmentation(Document):
    """What is changed in versions of training rows; validation and test rows stay as they are."""

    text: TextAugmentation | None = None
    """Changes words: of the text for TextClassification, of the source for Summarization and
    Translation. The prepared rows and the data report say which rows were changed and how."""

    image: ImageAugmentation | None = None
    """Changes images, for ImageClassification."""

    audio: AudioAugmentation | None = None
    """Changes recordings, for AudioClassification and SpeechRecognition."""

    _rules = model_validator(mode="after")(rules.check("spec.dataset.augmentation"))
