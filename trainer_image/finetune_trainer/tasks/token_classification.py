"""Token classification: which words of a text are names of what. The base's score is that of a
linear probe on the features of every word's first token."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.data.tags import TagEncoder, tag_names
from finetune_trainer.evaluate import baseline, f1, probe, spans, token_probe
from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward_tokens, logits, mean_loss
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.losses import token_loss
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, configure, load_classifier, meta_classifier
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 512
PEFT_TASK = "TOKEN_CLS"


class TokenClassification:
    """Loads a tagger, fits the probe, trains, compares spans."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places = session.job, session.places
        self.session = session
        text = (places.prepared / "labels.json").read_text(encoding="utf-8")
        self.kinds: list[str] = json.loads(text)
        self.tags = tag_names(self.kinds)
        config = checks.read_config(places.model, job.spec.model.uri)
        dropout = job.spec.training.dropout
        configure(config, self.tags, dropout=dropout, pad=tokenizer.pad_token_id)
        config.problem_type = None
        seed = job.spec.training.seed
        self.loaded = load_classifier(
            places.model, config, seed=seed, storage=session.storage, peft_task=PEFT_TASK
        )
        self.parts = Rows.of_parts(places.prepared, TagCollator(tokenizer.pad_token_id))

    trial = staticmethod(trial.of_scores)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no token-classification form."""
        checks.check_token_classification(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Texts, and a tag for each word."""
        uri = job.spec.model.uri
        return Encoding(LENGTH_CAP, lambda rows: TagEncoder(tokenizer, rows.labels, uri))

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The tagger without weights."""
        configured = configure(config, tag_names(labels), dropout=None, pad=pad)
        return meta_classifier(configured, PEFT_TASK)

    def baseline(self) -> None:
        """The probe, copied into the head, and the base's tags of the test rows."""
        model, head = self.loaded.model, self.loaded.head
        kept = baseline.measured(
            self.session, lambda: token_probe.measure(self.session, self.loaded, self.parts)
        )
        self.base: NDArray[np.int64] = kept["predicted"]
        probe.into_head(model, head, probe.Probe(kept["weight"], kept["bias"]))

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Trainer with our loss."""
        from transformers import TrainingArguments

        from finetune_trainer.train import FineTuneTrainer

        arguments = TrainingArguments(**options)
        loss = partial(token_loss, smoothing=self.session.job.spec.training.label_smoothing)
        return FineTuneTrainer(args=arguments, compute_loss_func=loss, **parts)

    def validate(self, model: Any) -> float:
        """Mean cross-entropy of the validation rows' words."""
        rows = self.parts["validation"]
        scores = np.concatenate(forward_tokens(model, rows, self.session, logits))
        return mean_loss(scores, np.concatenate(rows.token_labels))

    def evaluate(self, model: Any) -> None:
        """F1 of spans, micro and macro, against the probe's."""
        session, test = self.session, self.parts["test"]
        session.channel.stage(Stage.EVALUATE)
        scores = forward_tokens(model, test, session, logits, may_stop=True)
        if session.gang.is_main:
            truth = test.token_labels
            base = by_row(self.base, truth)
            tuned = [row.argmax(axis=1) for row in scores]
            write_comparison(session, self._compare(truth, base, tuned))
            with (session.places.report / "tags.jsonl").open("w", encoding="utf-8") as file:
                for rows in zip(truth, base, tuned, strict=True):
                    named = zip(("truth", "base", "tuned"), map(self._names, rows), strict=True)
                    file.write(json.dumps(dict(named), ensure_ascii=False) + "\n")

    def exam(self, folder: Path) -> Exam:
        """Tags, compared as those of the test rows."""
        rows = Rows.of(folder, self.parts["test"].collate)
        truth = rows.token_labels

        def answer(model: Any) -> NDArray[np.int64]:
            scores = forward_tokens(model, rows, self.session, logits, may_stop=True)
            return np.concatenate(scores).argmax(axis=1)

        def compare(base: NDArray[np.int64], tuned: NDArray[np.int64]) -> Comparison:
            return self._compare(truth, by_row(base, truth), by_row(tuned, truth))

        return Exam(answer, compare)

    def describe(self, folder: Path) -> None:
        """The tags."""
        text = json.dumps(self.tags, ensure_ascii=False)
        (folder / "labels.json").write_text(text, encoding="utf-8")

    def _compare(
        self,
        truth: list[NDArray[np.int64]],
        base: list[NDArray[np.int64]],
        tuned: list[NDArray[np.int64]],
    ) -> Comparison:
        counts = self._counts(truth, base), self._counts(truth, tuned)
        return f1.compare(*counts, seed=self.session.job.spec.training.seed)

    def _counts(
        self, truth: list[NDArray[np.int64]], predicted: list[NDArray[np.int64]]
    ) -> f1.Counts:
        named = [self._names(row) for row in truth], [self._names(row) for row in predicted]
        return spans.counts(*named, self.kinds)

    def _names(self, numbers: NDArray[np.int64]) -> list[str]:
        return [self.tags[number] for number in numbers]


def by_row(tags: NDArray[np.int64], truth: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Tags of all rows, one after the other, as those of each."""
    return np.split(tags, np.cumsum([len(row) for row in truth])[:-1])


class TagCollator:
    """Pads rows of token ids and tags to the longest of the batch."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids``, ``attention_mask`` and ``labels``, all [rows, longest]."""
        shape = len(rows), max(len(row["input_ids"]) for row in rows)
        ids = torch.full(shape, self.pad, dtype=torch.int64)
        mask = torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, IGNORED, dtype=torch.int64)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[number, :length] = torch.as_tensor(row["input_ids"])
            labels[number, :length] = torch.as_tensor(row["labels"])
            mask[number, :length] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
