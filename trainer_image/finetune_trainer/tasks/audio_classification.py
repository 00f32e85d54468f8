"""Audio classification: one class a recording. The base's score is that of a linear probe."""

from typing import Any

import torch

from finetune_api.jobconfig import JobConfig
from finetune_trainer.data.audio_encoder import AudioEncoder, samples_of
from finetune_trainer.evaluate.forward import Rows
from finetune_trainer.evaluate.recordings import longest
from finetune_trainer.model import checks, trial
from finetune_trainer.model.audio_processor import AudioProcessor
from finetune_trainer.model.load import Loaded, configure, load_classifier, meta_classifier
from finetune_trainer.model.still_norms import keep_statistics
from finetune_trainer.model.whole_layers import whole_layers
from finetune_trainer.session import Session
from finetune_trainer.tasks.classification import Classification
from finetune_trainer.tasks.recordings import with_changes
from finetune_trainer.tasks.task import Encoding

FORM = "AUDIO_CLS"


class AudioClassification(Classification):
    """Classes of recordings."""

    def __init__(self, session: Session, processor: AudioProcessor) -> None:
        super().__init__(session)
        job, places = session.job, session.places
        self.processor = processor
        collate = AudioCollator(processor)
        self.parts = Rows.of_parts(places.prepared, collate)
        collate.longest = longest(self.parts)
        config = checks.read_config(places.model, job.spec.model.uri)
        configure(config, self.labels, dropout=job.spec.training.dropout, pad=None)
        self.loaded = load_classifier(
            places.model, whole_layers(config), seed=job.spec.training.seed,
            storage=session.storage, peft_task=FORM,
        )  # fmt: skip
        keep_statistics(self.loaded.model)

    trial = staticmethod(trial.of_recordings)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss, on recordings that change where the job wants it."""
        changing = with_changes(self.session, self.processor, parts, self.parts, letters=False)
        return super().trainer(options, **changing)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no audio-classification form."""
        checks.check_audio_classification(config, uri)

    @staticmethod
    def encoding(job: JobConfig, processor: AudioProcessor) -> Encoding:
        """Recordings at the model's sampling rate."""
        return Encoding(0, lambda rows: AudioEncoder(processor, rows), whole=True)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The classifier without weights."""
        configure(config, labels, dropout=None, pad=None)
        return meta_classifier(whole_layers(config), FORM)


class AudioCollator:
    """Makes a batch of prepared recordings; ``longest`` of all rows, in samples."""

    longest = 0

    def __init__(self, processor: AudioProcessor) -> None:
        self.processor = processor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What the model is given, and ``labels`` [rows]."""
        batch = self.processor.features([samples_of(row) for row in rows], self.longest)
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}
