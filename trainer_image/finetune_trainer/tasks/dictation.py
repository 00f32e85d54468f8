"""Speech recognition by a model with a decoder (Whisper), compared by what its base writes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune_api.dataset import Overlength
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.audio_encoder import samples_of
from finetune_trainer.data.dictations import DictationEncoder
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.evaluate import transcribed
from finetune_trainer.evaluate.dictation import Listener
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward, logits
from finetune_trainer.losses import loss_and_tokens, token_loss
from finetune_trainer.model import checks, trial
from finetune_trainer.model.dictation_processor import DictationProcessor
from finetune_trainer.model.load import Loaded, load_dictation, meta_dictation
from finetune_trainer.session import Session
from finetune_trainer.tasks.recordings import with_changes
from finetune_trainer.tasks.task import Encoding


class Dictation:
    """Loads the model, has it write, trains, has it write again."""

    def __init__(self, session: Session, processor: DictationProcessor) -> None:
        job, places = session.job, session.places
        self.session, self.processor = session, processor
        config = checks.read_config(places.model, job.spec.model.uri)
        self.loaded = load_dictation(
            places.model, config, dropout=job.spec.training.dropout, storage=session.storage
        )
        self.parts = Rows.of_parts(places.prepared, DictationCollator(processor))
        self.listener = Listener(session, processor, self.parts["test"])

    trial = staticmethod(trial.of_dictation)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when it is no model whose decoder writes what is said."""
        checks.check_dictation(config, uri)

    @staticmethod
    def encoding(job: JobConfig, processor: DictationProcessor) -> Encoding:
        """Recordings and the tokens of their texts."""
        dataset = job.spec.dataset
        drops = dataset.overlength is Overlength.DROP

        def encoder(rows: Any) -> DictationEncoder:
            return DictationEncoder(processor, rows, dataset.columns.text, drops=drops)

        return Encoding(0, encoder, whole=True)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The model without weights."""
        return meta_dictation(config)

    def baseline(self) -> None:
        """What the base writes of the test rows."""
        self.base = self.listener.of_base(self.loaded.model)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss, on recordings that change where the job wants it."""
        from transformers import TrainingArguments

        from finetune_trainer.train import FineTuneTrainer

        parts = with_changes(self.session, self.processor, parts, self.parts, letters=False)
        return FineTuneTrainer(
            args=TrainingArguments(**options), compute_loss_func=token_loss, **parts
        )

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows' tokens."""

        def losses(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return loss_and_tokens(logits(model, batch), batch["labels"])

        sums = forward(model, self.parts["validation"], self.session, losses)
        loss, tokens = sums.astype(np.float64).sum(axis=0)
        return float(loss / tokens)

    def evaluate(self, model: Any) -> None:
        """Error rates against the base's."""
        self.session.channel.stage(Stage.EVALUATE)
        tuned = self.listener.written(model)
        transcribed.tell(self.session, self.listener.wanted, self.base, tuned)

    def exam(self, folder: Path) -> Exam:
        """Texts, compared as those of the test rows."""
        rows = Rows.of(folder, self.parts["test"].collate)
        listener = Listener(self.session, self.processor, rows)
        return transcribed.exam(self.session, listener.wanted, listener.written)

    def describe(self, folder: Path) -> None:
        """How texts begin and end, so that any program writes them as they were compared."""
        self.listener.generation_config().save_pretrained(folder)


class DictationCollator:
    """Makes a batch of recordings and texts."""

    def __init__(self, processor: DictationProcessor) -> None:
        self.processor = processor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_features`` [rows, bands, frames]; ``labels``, -100 where nothing is learnt, and
        ``decoder_input_ids`` [rows, longest text with its beginning]."""
        processor, longest = self.processor, max(row["length"] for row in rows)
        beginning = processor.beginning
        given = torch.full((len(rows), longest), processor.pad_token_id, dtype=torch.int64)
        labels = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
        for number, row in enumerate(rows):
            text, length = torch.as_tensor(row["labels"]), row["length"]
            given[number, :length] = torch.as_tensor([*beginning, *row["labels"][:-1]])
            labels[number, length - len(text) : length] = text
        features = processor.features([samples_of(row) for row in rows], longest)
        return {**features, "labels": labels, "decoder_input_ids": given}
