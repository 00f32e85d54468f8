"""Image classification: one class an image. The base's score is that of a linear probe."""

from functools import partial
from typing import Any

import numpy as np
import torch

from finetune_api.augmentation import ImageAugmentation
from finetune_api.jobconfig import JobConfig
from finetune_trainer.data.image_changes import changed
from finetune_trainer.data.image_encoder import ImageEncoder
from finetune_trainer.evaluate.forward import Rows
from finetune_trainer.model import checks, trial
from finetune_trainer.model.image_processor import ImageProcessor
from finetune_trainer.model.load import Loaded, configure, load_classifier, meta_classifier
from finetune_trainer.model.still_norms import keep_statistics
from finetune_trainer.session import Session
from finetune_trainer.tasks.classification import Classification
from finetune_trainer.tasks.task import Encoding
from finetune_trainer.visits import changing

FORM = "IMAGE_CLS"


class ImageClassification(Classification):
    """Classes of images."""

    def __init__(self, session: Session, processor: ImageProcessor) -> None:
        super().__init__(session)
        job, places = session.job, session.places
        self.parts = Rows.of_parts(places.prepared, ImageCollator(processor))
        config = checks.read_config(places.model, job.spec.model.uri)
        configure(config, self.labels, dropout=job.spec.training.dropout, pad=None)
        self.loaded = load_classifier(
            places.model, config, seed=job.spec.training.seed, storage=session.storage,
            peft_task=FORM,
        )  # fmt: skip
        keep_statistics(self.loaded.model)

    trial = staticmethod(trial.of_images)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss, on images that change from pass to pass where the job wants it."""
        spec = self.session.job.spec
        if spec.dataset.augmentation is not None and spec.dataset.augmentation.image is not None:
            change = partial(_changed, spec.dataset.augmentation.image)
            parts = changing(parts, change, spec.training.seed)
        return super().trainer(options, **parts)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no image-classification form."""
        checks.check_image_classification(config, uri)

    @staticmethod
    def encoding(job: JobConfig, processor: ImageProcessor) -> Encoding:
        """Images in the model's size."""
        return Encoding(0, lambda rows: ImageEncoder(processor, job.spec.model.uri), whole=True)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The classifier without weights."""
        return meta_classifier(configure(config, labels, dropout=None, pad=None), FORM)


class ImageCollator:
    """Makes a batch of prepared images."""

    def __init__(self, processor: ImageProcessor) -> None:
        self.processor = processor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``pixel_values`` [rows, 3, height, width] and ``labels`` [rows]."""
        images = [image_of(row) for row in rows]
        labels = torch.tensor([row["labels"] for row in rows])
        return {"pixel_values": self.processor.scaled(images), "labels": labels}


def _changed(
    settings: ImageAugmentation, row: dict[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    return {**row, "pixels": changed(image_of(row), settings, rng).tobytes()}


def image_of(row: dict[str, Any]) -> Any:
    """The pixels of a prepared row [height, width, 3]."""
    shape = row["height"], row["width"], 3
    return np.frombuffer(row["pixels"], np.uint8).reshape(shape)
