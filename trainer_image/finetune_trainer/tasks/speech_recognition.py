"""Speech recognition by a model that writes letter by letter (CTC), compared by what its base
writes."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune_api.dataset import Overlength
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.audio_encoder import samples_of
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.data.transcripts import TranscriptEncoder
from finetune_trainer.evaluate import baseline, transcribed
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward, forward_rows, logits
from finetune_trainer.evaluate.recordings import longest
from finetune_trainer.losses import IN_FRAMES, letters_and_end, letters_loss
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, load_writer_of_letters, meta_writer_of_letters
from finetune_trainer.model.speech_processor import SpeechProcessor
from finetune_trainer.model.still_norms import keep_statistics
from finetune_trainer.model.whole_layers import whole_layers
from finetune_trainer.session import Session
from finetune_trainer.tasks.recordings import with_changes
from finetune_trainer.tasks.task import Encoding


class SpeechRecognition:
    """Loads a model with letters, has it write, trains, has it write again."""

    def __init__(self, session: Session, processor: SpeechProcessor) -> None:
        job, places = session.job, session.places
        self.session, self.processor = session, processor
        collate = SpeechCollator(processor)
        self.parts = Rows.of_parts(places.prepared, collate)
        collate.longest = longest(self.parts)
        config = checks.read_config(places.model, job.spec.model.uri)
        self.loaded = load_writer_of_letters(
            places.model, config, processor.tokenizer, seed=job.spec.training.seed,
            dropout=job.spec.training.dropout, storage=session.storage,
        )  # fmt: skip
        keep_statistics(self.loaded.model)
        self.pause: int = processor.tokenizer.pad_token_id
        self.loss = partial(letters_loss, pause=self.pause)

    trial = staticmethod(trial.of_recordings)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no CTC form."""
        checks.check_speech_recognition(config, uri)

    @staticmethod
    def encoding(job: JobConfig, processor: SpeechProcessor) -> Encoding:
        """Recordings and the letters of their texts."""
        dataset = job.spec.dataset
        drops = dataset.overlength is Overlength.DROP

        def encoder(rows: Any) -> TranscriptEncoder:
            return TranscriptEncoder(processor, rows, dataset.columns.text, drops=drops)

        return Encoding(0, encoder, whole=True)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The model without weights."""
        return meta_writer_of_letters(whole_layers(config))

    def baseline(self) -> None:
        """What the base writes of the test rows."""
        written = partial(self._written, rows=self.parts["test"])
        found = baseline.passed(self.session, self.loaded.model, written, "written")
        self.base: list[str] = found.tolist()

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss, on recordings that change where the job wants it."""
        from transformers import TrainingArguments

        from finetune_trainer.train import FineTuneTrainer

        parts = with_changes(self.session, self.processor, parts, self.parts, letters=True)
        return FineTuneTrainer(
            args=TrainingArguments(**options), compute_loss_func=self.loss, **parts
        )

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows' letters and ends."""

        def losses(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return letters_and_end(logits(model, batch), batch["labels"], self.pause)

        sums = forward(model, self.parts["validation"], self.session, losses)
        total, items = sums.astype(np.float64).sum(axis=0)
        return float(total / items)

    def evaluate(self, model: Any) -> None:
        """Error rates against the base's."""
        test = self.parts["test"]
        self.session.channel.stage(Stage.EVALUATE)
        tuned = self._written(model, test)
        transcribed.tell(self.session, self._wanted(test), self.base, tuned)

    def exam(self, folder: Path) -> Exam:
        """Texts, compared as those of the test rows."""
        rows = Rows.of(folder, self.parts["test"].collate)
        written = partial(self._written, rows=rows)
        return transcribed.exam(self.session, self._wanted(rows), written)

    def describe(self, folder: Path) -> None:
        """Nothing: the model writes as its base does."""

    def _wanted(self, rows: Rows) -> list[str]:
        return [self.processor.text(ids, heard=False) for ids in rows.dataset["labels"]]

    def _written(self, model: Any, rows: Rows) -> list[str]:
        """The likeliest letter of every position, as text."""

        def written(batch: dict[str, torch.Tensor], count: int) -> list[str]:
            best = logits(model, batch).argmax(dim=-1).tolist()
            frames = (IN_FRAMES - batch["labels"][:, -1]).tolist()
            return [
                self.processor.text(best[row][: frames[row]], heard=True) for row in range(count)
            ]

        return forward_rows(model, rows, self.session, written, may_stop=True)


class SpeechCollator:
    """Makes a batch of recordings and texts; ``longest`` of all rows, in samples."""

    longest = 0

    def __init__(self, processor: SpeechProcessor) -> None:
        self.processor = processor

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What the model is given, and ``labels`` [rows, longest text + 1] as ``letters_loss``
        takes them."""
        batch = self.processor.features([samples_of(row) for row in rows], self.longest)
        most = max(len(row["labels"]) for row in rows)
        labels = torch.full((len(rows), most + 1), IGNORED, dtype=torch.int64)
        for number, row in enumerate(rows):
            labels[number, : len(row["labels"])] = torch.as_tensor(row["labels"])
        frames = [row["length"] for row in rows]
        if "attention_mask" not in batch:  # The model hears silence until the end.
            frames = [self.processor.positions(self.longest)] * len(rows)
        labels[:, -1] = IN_FRAMES - torch.tensor(frames)
        return {**batch, "labels": labels}
