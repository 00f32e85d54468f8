"""Reward models: a causal language model with a head that scores answers, learnt from preferences
(Bradley & Terry 1952). The base's score is that of a linear probe."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.encode import IDS
from finetune_trainer.data.preferences import REJECTED
from finetune_trainer.evaluate import baseline, preferences, probe, reward_probe
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward, logits
from finetune_trainer.evaluate.generate import padded
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, configure, load_classifier, meta_classifier
from finetune_trainer.objectives.preference import PairCollator, Preference, PreferenceTrainer
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

NAME = "reward"
"""What the only output is called."""


class Reward:
    """Loads the model with a head of one output, fits the probe, trains, compares."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places, pad = session.job, session.places, tokenizer.pad_token_id
        self.session = session
        config = checks.read_config(places.model, job.spec.model.uri)
        _one_output(config, pad, job.spec.training.dropout)
        self.loaded = load_classifier(
            places.model, config, seed=job.spec.training.seed, storage=session.storage
        )
        self.parts = Rows.of_parts(places.prepared, PairCollator(pad))
        self.sides = {
            part: tuple(replace(rows, collate=SideCollator(pad, name))
                        for name in (IDS.name, REJECTED.name))
            for part, rows in self.parts.items()
        }  # fmt: skip

    trial = staticmethod(trial.of_scores)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the model is no causal language model, or cannot score."""
        checks.check_language_model(config, uri)
        checks.check_classification(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Prompts with two answers each."""
        return Preference.encoding(job, tokenizer)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The model without weights."""
        return meta_classifier(_one_output(config, pad, None))

    def baseline(self) -> None:
        """The probe, copied into the head, and how far it sets the test rows' answers apart."""
        kept = baseline.measured(
            self.session, lambda: reward_probe.measure(self.session, self.loaded, self.sides)
        )
        self.base = kept["margins"]
        nothing = np.zeros(1, np.float32)
        probe.into_head(self.loaded.model, self.loaded.head, probe.Probe(kept["weight"], nothing))

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Our core with the mean of row losses."""
        from transformers import TrainingArguments

        arguments = TrainingArguments(**options)
        return PreferenceTrainer(args=arguments, row_loss=row_loss, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows."""
        rows = self.parts["validation"]
        losses = forward(model, rows, self.session, lambda m, b: row_loss(m, b)[:, None])
        return float(losses.astype(np.float64).mean())

    def evaluate(self, model: Any) -> None:
        """How often the chosen answer has the larger reward, against the probe's."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        tuned = forward(model, self.parts["test"], session, rewards, may_stop=True)
        if session.gang.is_main:
            margins = (tuned[:, 0] - tuned[:, 1]).astype(float)
            seed = session.job.spec.training.seed
            result = preferences.compare_margins(self.base.astype(float), margins, seed=seed)
            write_comparison(session, result)
            arrays = {"base_margins": self.base, "tuned": tuned}
            np.savez(session.places.report / "rewards.npz", **arrays)

    def exam(self, folder: Path) -> Exam:
        """How far answers are set apart, compared as those of the test rows."""
        session = self.session
        rows, seed = Rows.of(folder, self.parts["test"].collate), session.job.spec.training.seed

        def margins(model: Any) -> NDArray[np.float64]:
            chosen, rejected = forward(model, rows, session, rewards, may_stop=True).T
            return (chosen - rejected).astype(np.float64)

        return Exam(margins, partial(preferences.compare_margins, seed=seed))

    def describe(self, folder: Path) -> None:
        """Nothing: the configuration names the output."""


def rewards(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Rewards of each row's chosen and rejected answer [rows, 2]."""
    return torch.cat(logits(model, batch).float().chunk(2), dim=1)


def row_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """-log σ(the chosen answer's reward less the rejected one's) [rows]."""
    chosen, rejected = rewards(model, batch).unbind(dim=1)
    return -functional.logsigmoid(chosen - rejected)


class SideCollator:
    """Pads one answer of each row, with its prompt, to the longest."""

    def __init__(self, pad: int, column: str) -> None:
        self.pad, self.column = pad, column

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [rows, longest]."""
        ids, mask = padded([row[self.column] for row in rows], self.pad, before=False)
        return {"input_ids": ids, "attention_mask": mask}


def _one_output(config: Any, pad: int | None, dropout: float | None) -> Any:
    configure(config, [NAME], dropout=dropout, pad=pad)
    config.problem_type = None
    return config
