"""What classifiers of texts and of media share: a row has one class, any number of labels, or is a
number to be estimated. The base's score is that of a linear probe."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune_api.progress import Stage
from finetune_trainer.evaluate import baseline, probe, targets
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward, logits
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.model.load import Loaded
from finetune_trainer.session import Session


class Classification:
    """Fits the probe, trains, compares; what is loaded and how rows are padded is a task's own."""

    loaded: Loaded
    parts: dict[str, Rows]

    def __init__(self, session: Session) -> None:
        self.session = session
        prepared = session.places.prepared
        names = prepared / "labels.json"
        self.labels: list[str] = [targets.VALUE]
        if names.exists():
            self.labels = json.loads(names.read_text(encoding="utf-8"))
        self.target = targets.of_prepared(prepared, len(self.labels))

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

    def exam(self, folder: Path) -> Exam:
        """Predictions, compared as those of the test rows."""
        session, fitting = self.session, self.target.fitting
        rows, seed = Rows.of(folder, self.parts["test"].collate), session.job.spec.training.seed
        return Exam(
            lambda model: fitting.predict(forward(model, rows, session, logits, may_stop=True)),
            lambda base, tuned: self.target.compare(fitting.truth(rows), base, tuned, seed=seed),
        )

    def describe(self, folder: Path) -> None:
        """The names of classes or labels."""
        text = json.dumps(self.labels, ensure_ascii=False)
        (folder / "labels.json").write_text(text, encoding="utf-8")
