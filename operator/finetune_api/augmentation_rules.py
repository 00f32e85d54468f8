"""Rules of ``spec.dataset.augmentation``."""

from finetune_api.learning import MEDIA, Media, Task
from finetune_api.rule import Rule

REWORDED = (Task.TEXT_CLASSIFICATION, Task.SUMMARIZATION, Task.TRANSLATION)
"""Tasks of texts whose answer stays right when words of the text change: it is no part of the text
and knows no place in it."""
HEARD = tuple(task for task, media in MEDIA.items() if media is Media.AUDIO)
"""Tasks of recordings."""

RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec.dataset.augmentation",
        cel="has(self.text) || has(self.image) || has(self.audio)",
        message="dataset.augmentation is empty: set text, image or audio, or remove it",
        holds=lambda augmentation: (
            augmentation.text is not None
            or augmentation.image is not None
            or augmentation.audio is not None
        ),
    ),
    Rule(
        scope="spec.dataset.augmentation.audio",
        cel="has(self.noise) || has(self.speed)",
        message="dataset.augmentation.audio changes nothing: set noise or speed",
        holds=lambda audio: audio.noise is not None or audio.speed is not None,
    ),
    Rule(
        scope="spec.dataset.augmentation.audio.noise",
        cel="self.lowest <= self.highest",
        message="augmentation.audio.noise.lowest must not be above highest",
        holds=lambda noise: noise.lowest <= noise.highest,
    ),
    Rule(
        scope="spec.dataset.augmentation.audio.speed",
        cel="self.slowest < self.fastest",
        message="augmentation.audio.speed changes nothing: set slowest below 1 or fastest above 1",
        holds=lambda speed: speed.slowest < speed.fastest,
    ),
    Rule(
        scope="spec",
        cel="!has(self.dataset.augmentation) || !has(self.dataset.augmentation.audio) || "
        f"self.task in {[*map(str, HEARD)]}",
        message=f"dataset.augmentation.audio is for tasks {', '.join(HEARD)}: remove it",
        holds=lambda spec: (
            spec.dataset.augmentation is None
            or spec.dataset.augmentation.audio is None
            or spec.task in HEARD
        ),
    ),
    Rule(
        scope="spec.dataset.augmentation.image",
        cel="self.flip || self.rotate > 0.0 || self.crop > 0.0 || self.brightness > 0.0 || "
        "self.contrast > 0.0",
        message="dataset.augmentation.image changes nothing: set flip, rotate, crop, brightness or "
        "contrast",
        holds=lambda image: bool(
            image.flip or image.rotate or image.crop or image.brightness or image.contrast
        ),
    ),
    Rule(
        scope="spec",
        cel="!has(self.dataset.augmentation) || !has(self.dataset.augmentation.image) || "
        "self.task == 'ImageClassification'",
        message="dataset.augmentation.image is for task ImageClassification only: remove it",
        holds=lambda spec: (
            spec.dataset.augmentation is None
            or spec.dataset.augmentation.image is None
            or spec.task is Task.IMAGE_CLASSIFICATION
        ),
    ),
    Rule(
        scope="spec.dataset.augmentation.text",
        cel="has(self.swap) || has(self.delete) || has(self.synonyms)",
        message="dataset.augmentation.text changes nothing: set swap, delete or synonyms",
        holds=lambda text: (
            text.swap is not None or text.delete is not None or text.synonyms is not None
        ),
    ),
    Rule(
        scope="spec",
        cel="!has(self.dataset.augmentation) || !has(self.dataset.augmentation.text) || "
        f"self.task in {[*map(str, REWORDED)]}",
        message=f"dataset.augmentation.text is for tasks {', '.join(REWORDED)}: other answers "
        "would not fit the changed words",
        holds=lambda spec: (
            spec.dataset.augmentation is None
            or spec.dataset.augmentation.text is None
            or spec.task in REWORDED
        ),
    ),
)
