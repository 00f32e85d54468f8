"""Text classification: one class a row, any number of labels, or a number to be estimated. The
base's score is that of a linear probe."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune_api.errors import UserError
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import LabelKind
from finetune_api.progress import Stage
from finetune_trainer.data.encode import Encoder, TextEncoder
from finetune_trainer.data.gather import Gathered
from finetune_trainer.data.labelled_text import LabelledTextEncoder
from finetune_trainer.evaluate import baseline, probe, targets
from finetune_trainer.evaluate.forward import Rows, forward, logits
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, configure, load_classifier, meta_classifier
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 512


class TextClassification:
    """Loads a classifier, fits the probe, trains, compares."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places = session.job, session.places
        self.session = session
        names = places.prepared / "labels.json"
        self.labels: list[str] = [targets.VALUE]
        if names.exists():
            self.labels = json.loads(names.read_text(encoding="utf-8"))
        self.target = targets.of_prepared(places.prepared, len(self.labels))
        collate = Collator(tokenizer.pad_token_id, self.target.collate)
        self.parts = Rows.of_parts(places.prepared, collate)
        config = checks.read_config(places.model, job.spec.model.uri)
        dropout = job.spec.training.dropout
        configure(config, self.labels, dropout=dropout, pad=tokenizer.pad_token_id)
        config.problem_type = self.target.problem_type
        self.loaded = load_classifier(
            places.model, config, seed=job.spec.training.seed, storage=session.storage
        )

    trial = staticmethod(trial.of_scores)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no sequence-classification form."""
        checks.check_classification(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Texts and what they are."""

        def encoder(rows: Gathered) -> Encoder:
            if rows.kind is LabelKind.SINGLE:
                return TextEncoder(tokenizer)
            if rows.kind is LabelKind.NUMBER and job.spec.training.label_smoothing:
                raise UserError(
                    "training.labelSmoothing is for names of classes, and the labels are numbers",
                    "remove it",
                )
            return LabelledTextEncoder(tokenizer, rows.labels)

        return Encoding(LENGTH_CAP, encoder)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The classifier without weights."""
        return meta_classifier(configure(config, labels or [targets.VALUE], dropout=None, pad=pad))

    def baseline(self) -> None:
        """The probe, copied into the head, and the base's predictions of the test rows."""
        kept = baseline.measured(
            self.session,
            lambda: probe.measure(self.session, self.loaded, self.parts, self.target.fitting),
        )
        self.base = kept["predicted"]
        probe.into_head(
            self.loaded.model, self.loaded.head, probe.Probe(kept["weight"], kept["bias"])
        )

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss."""
        from transformers import TrainingArguments

        from finetune_trainer.train import FineTuneTrainer

        arguments = TrainingArguments(**options)
        loss = partial(self.target.loss, smoothing=self.session.job.spec.training.label_smoothing)
        return FineTuneTrainer(args=arguments, compute_loss_func=loss, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows."""
        rows = self.parts["validation"]
        scores = torch.from_numpy(forward(model, rows, self.session, logits))
        labels = self.target.collate(rows.dataset["labels"][:])
        return float(self.target.loss({"logits": scores}, labels))

    def evaluate(self, model: Any) -> None:
        """Accuracy and macro F1, F1 of labels, or R² and errors, against the probe's."""
        session, test = self.session, self.parts["test"]
        session.channel.stage(Stage.EVALUATE)
        scores = forward(model, test, session, logits, may_stop=True)
        if session.gang.is_main:
            fitting, seed = self.target.fitting, session.job.spec.training.seed
            truth, tuned = fitting.truth(test), fitting.predict(scores)
            result = self.target.compare(truth, self.base, tuned, seed=seed)
            arrays = {"truth": truth, "base": self.base, "tuned": tuned}
            write_comparison(session, result)
            np.savez(session.places.report / "predictions.npz", tuned_logits=scores, **arrays)

    def describe(self, folder: Path) -> None:
        """The names of classes or labels."""
        text = json.dumps(self.labels, ensure_ascii=False)
        (folder / "labels.json").write_text(text, encoding="utf-8")


class Collator:
    """Pads rows of token ids to the longest of the batch."""

    def __init__(self, pad: int, labels: Callable[[Any], torch.Tensor] = torch.tensor) -> None:
        self.pad, self.labels = pad, labels

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [rows, longest], ``labels`` [rows, …]."""
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.int64)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[number, :length] = torch.as_tensor(row["input_ids"])
            mask[number, :length] = 1
        labels = self.labels([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
