"""Extractive question answering: where in a text its answer stands. The base's score is that of a
linear probe on the features of tokens, unless it can point at answers already."""

import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from finetune_api.dataset import Overlength
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer import zero
from finetune_trainer.data import windows
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.evaluate import baseline, extract, pointer_probe, probe, questions
from finetune_trainer.evaluate.baseline import Arrays
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Batch, Rows, forward, forward_tokens, logits
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.losses import pointer_loss
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, load_classifier, meta_classifier, set_dropout
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 384
SIDES = 2
"""Scores of a token: as the start of an answer, and as its end."""


class QuestionAnswering:
    """Loads a model that points, fits the probe, trains, compares answers."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places = session.job, session.places
        self.session = session
        config = checks.read_config(places.model, job.spec.model.uri)
        config.num_labels = SIDES
        set_dropout(config, job.spec.training.dropout)
        self.loaded = load_classifier(
            places.model, config, seed=job.spec.training.seed, storage=session.storage,
            peft_task=None,
        )  # fmt: skip
        collate = WindowCollator(tokenizer.pad_token_id, tells_segments(config))
        self.parts = Rows.of_parts(places.prepared, collate)
        self.loss = partial(pointer_loss, smoothing=job.spec.training.label_smoothing)

    trial = staticmethod(trial.of_scores)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture has no form that points at answers."""
        checks.check_question_answering(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Questions with windows of their contexts."""
        return Encoding(
            LENGTH_CAP,
            lambda rows: windows.WindowEncoder(tokenizer, job.spec.model.uri),
            Overlength.SPLIT, split=windows.split, lost=windows.lost,
        )  # fmt: skip

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The model without weights."""
        config.num_labels = SIDES
        return meta_classifier(config, None)

    def baseline(self) -> None:
        """The probe, copied into the head, and the base's answers to the test questions."""
        kept = baseline.measured(self.session, self._measure)
        self.base: NDArray[np.int64] = kept["predicted"]
        if not self.loaded.has_own_head:
            made = probe.Probe(kept["weight"], kept["bias"])
            probe.into_head(self.loaded.model, self.loaded.head, made)

    def _measure(self) -> tuple[Arrays, dict[str, Any]]:
        session, loaded = self.session, self.loaded
        arrays: Arrays = {}
        if not loaded.has_own_head:
            made = pointer_probe.measure(session, loaded, self.parts["train"])
            made = session.gang.from_main(made)
            probe.into_head(loaded.model, loaded.head, made)
            arrays = {"weight": made.weight, "bias": made.bias}
        with zero.for_passes(session, loaded.model) as model:
            arrays["predicted"] = self._answers(model, self.parts["test"], self._test)
        texts = self._test.texts(arrays["predicted"])
        f1, exact = questions.scores(self._test.references, texts)
        kind = "own" if loaded.has_own_head else "probe"
        return arrays, {"head": kind, "f1": f1.mean(), "exact_match": exact.mean()}

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Our core with the mean of row losses."""
        from transformers import TrainingArguments

        from finetune_trainer.row_losses import RowLossTrainer
        from finetune_trainer.train import FineTuneTrainer

        class PointerTrainer(FineTuneTrainer, RowLossTrainer):
            """Points."""

        return PointerTrainer(args=TrainingArguments(**options), row_loss=self._row_loss, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation windows."""
        rows = self.parts["validation"]
        losses = forward(model, rows, self.session, lambda m, b: self._row_loss(m, b)[:, None])
        return float(losses.astype(np.float64).mean())

    def evaluate(self, model: Any) -> None:
        """Token F1 and exact match of the answers, against the base's."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        test = self._test
        tuned = self._answers(model, self.parts["test"], test)
        if session.gang.is_main:
            base_texts, tuned_texts = test.texts(self.base), test.texts(tuned)
            seed = session.job.spec.training.seed
            result = questions.compare(test.references, base_texts, tuned_texts, seed=seed)
            write_comparison(session, result)
            rows = zip(test.questions, test.references, base_texts, tuned_texts, strict=True)
            with (session.places.report / "answers.jsonl").open("w", encoding="utf-8") as file:
                for row in rows:
                    named = zip(("question", "references", "base", "tuned"), row, strict=True)
                    file.write(json.dumps(dict(named), ensure_ascii=False) + "\n")

    def exam(self, folder: Path) -> Exam:
        """Places of answers, compared as those to the test questions."""
        rows = Rows.of(folder, self.parts["test"].collate)
        asked, seed = Questions.of(rows), self.session.job.spec.training.seed
        return Exam(
            lambda model: self._answers(model, rows, asked),
            lambda base, tuned: questions.compare(
                asked.references, asked.texts(base), asked.texts(tuned), seed=seed
            ),
        )

    def describe(self, folder: Path) -> None:
        """How answers were chosen."""
        limits = self._limits
        document = {
            "longestAnswerTokens": limits.longest, "mayHaveNoAnswer": limits.may_be_none,
            "noAnswerToken": windows.NOWHERE,
        }  # fmt: skip
        (folder / "answers.json").write_text(json.dumps(document, indent=1), encoding="utf-8")

    def _row_loss(self, model: Any, batch: Batch) -> torch.Tensor:
        return self.loss(logits(model, batch), batch["labels"])

    def _answers(self, model: Any, rows: Rows, asked: "Questions") -> NDArray[np.int64]:
        """Places of the answers to the rows' questions [questions, 2], in their order."""
        scores = forward_tokens(model, rows, self.session, logits, may_stop=True)
        found = extract.answers(map(_window, rows.dataset), scores, self._limits)
        return np.array([found[number] for number in asked.numbers], np.int64)

    @cached_property
    def _test(self) -> "Questions":
        """The test questions."""
        return Questions.of(self.parts["test"])

    @cached_property
    def _limits(self) -> extract.Limits:
        """What answers of the training questions are like."""
        table = self.parts["train"].dataset.data.table
        labels = np.concatenate([c.flatten().to_numpy() for c in table.column("labels").chunks])
        places = labels.reshape(-1, SIDES)
        answered = places[places[:, 0] != windows.NOWHERE]
        longest = int((answered[:, 1] - answered[:, 0]).max(initial=0)) + 1
        return extract.Limits(longest, not pc.all(table.column("has_answer")).as_py())


@dataclass(frozen=True)
class Questions:
    """Questions in the order they were read, each with its context and right answers."""

    numbers: list[int]
    questions: list[str]
    contexts: list[str]
    references: list[list[str]]

    def texts(self, spans: NDArray[np.int64]) -> list[str]:
        """The answers at these places [questions, 2]; empty where there is none."""
        pairs = zip(self.contexts, spans.tolist(), strict=True)
        return [context[start:end] if start >= 0 else "" for context, (start, end) in pairs]

    @classmethod
    def of(cls, rows: Rows) -> "Questions":
        """Those of prepared rows."""
        columns = rows.dataset.select_columns(["question", "document"])
        whole = [
            (row["question"], json.loads(row["document"])) for row in columns if row["document"]
        ]
        return cls(
            [number for number, _ in whole], [document[0] for _, document in whole],
            [document[1] for _, document in whole], [document[2] for _, document in whole],
        )  # fmt: skip


class WindowCollator:
    """Pads windows to the longest of the batch. ``segments``: does the model want to know which
    tokens are the question's?"""

    def __init__(self, pad: int, segments: bool) -> None:
        self.pad, self.segments = pad, segments

    def __call__(self, rows: list[dict[str, Any]]) -> Batch:
        """``input_ids``, ``attention_mask``, ``token_type_ids`` where wanted, and ``labels`` as
        ``pointer_loss`` takes them, all [rows, longest]."""
        shape = len(rows), max(len(row["input_ids"]) for row in rows)
        names = ("input_ids", "attention_mask", "token_type_ids", "labels")
        fills = (self.pad, 0, 0, IGNORED)
        batch = {
            name: torch.full(shape, fill, dtype=torch.int64)
            for name, fill in zip(names, fills, strict=True)
        }
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            batch["input_ids"][number, :length] = torch.as_tensor(row["input_ids"])
            batch["attention_mask"][number, :length] = 1
            batch["token_type_ids"][number, :length] = torch.as_tensor(row["segments"])
            labels = batch["labels"][number]
            labels[windows.NOWHERE] = 0
            labels[row["first"] : row["last"] + 1] = 0
            for bit, at in zip((1, 2), row["labels"], strict=True):
                labels[max(at, windows.NOWHERE)] |= bit
        if not self.segments:
            del batch["token_type_ids"]
        return batch


def tells_segments(config: Any) -> bool:
    """Has the model an embedding for the second of two texts?"""
    return (getattr(config, "type_vocab_size", None) or 0) > 1


def _window(row: dict[str, Any]) -> extract.Window:
    there = slice(row["first"], row["last"] + 1)
    starts, ends = (np.array(row[name][there], np.int64) for name in ("starts", "ends"))
    return extract.Window(row["question"], starts, ends)
