"""What objectives on preferences share: pairs of answers, their likelihoods, the comparison.

The loss is a number a row, so the mean over a global batch does not depend on how ranks share it.
Likelihoods come from TRL's language-model head, which computes them in chunks. What a loss needs
to know of the base is measured once, before training: no second model is held, whatever the
method and however the weights are split.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import TrainingArguments
from trl.trainer.utils import add_fused_lm_head

from finetune_api.defaults import BETA
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer import zero
from finetune_trainer.data.encode import IGNORED
from finetune_trainer.data.preferences import REJECTED, PreferenceEncoder
from finetune_trainer.evaluate import baseline, preferences
from finetune_trainer.evaluate.forward import REFERENCE, Rows, forward
from finetune_trainer.evaluate.preferences import Likelihoods
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.losses import number_bits
from finetune_trainer.model.load import Loaded
from finetune_trainer.row_losses import RowLossTrainer
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding
from finetune_trainer.train import FineTuneTrainer

LENGTH_CAP = 2048
SEQUENCES = 2
"""Texts that a row makes the model read."""
READ = ("input_ids", "attention_mask", "labels")
"""What a model with TRL's language-model head is given of a batch."""


class PreferenceTrainer(FineTuneTrainer, RowLossTrainer):
    """Our core around the mean of row losses."""


class PairCollator:
    """Chosen answers with their prompts, then those in column ``second``, padded to the longest."""

    def __init__(self, pad: int, second: str = REJECTED.name) -> None:
        self.pad, self.second = pad, second

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids``, ``attention_mask`` and ``labels`` [2 × rows, longest]; where rows have
        it, the bits of ``reference`` [rows, 4]."""
        texts = [row["input_ids"] for row in rows] + [row[self.second] for row in rows]
        shape = len(texts), max(map(len, texts))
        ids = torch.full(shape, self.pad, dtype=torch.int64)
        mask = torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, IGNORED, dtype=torch.int64)
        for number, text in enumerate(texts):
            prompt = rows[number % len(rows)]["prompt_length"]
            ids[number, : len(text)] = torch.as_tensor(text)
            mask[number, : len(text)] = 1
            labels[number, prompt : len(text)] = ids[number, prompt : len(text)]
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        if REFERENCE in rows[0]:
            batch[REFERENCE] = number_bits([row[REFERENCE] for row in rows])
        return batch


def likelihoods(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of each row: log-likelihood and number of tokens of the chosen answer, then of the rejected
    one [rows, 4]."""
    return torch.cat(likelihood(model, batch).chunk(2), dim=1)


def likelihood(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of each text: log-likelihood and number of tokens of its answer [texts, 2]."""
    inputs = {name: batch[name] for name in READ}
    outputs = model(**inputs, use_cache=False, fused_lm_head=True)
    tokens = outputs.label_mask.sum(dim=1).float()
    return torch.stack([outputs.log_probs.float().sum(dim=1), tokens], dim=1)


class Preference:
    """An objective on preferences; a kind says what a row's loss is."""

    measured_parts: tuple[str, ...] = ("test",)
    """Parts whose likelihoods under the base are wanted."""

    def __init__(self, session: Session, tokenizer: Any, loaded: Loaded) -> None:
        self.session, self.loaded = session, loaded
        self.parts = Rows.of_parts(session.places.prepared, PairCollator(tokenizer.pad_token_id))
        asked = session.job.spec.training.beta
        self.beta = BETA if asked is None else asked
        add_fused_lm_head(loaded.model)

    def row_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each row [rows]."""
        raise NotImplementedError

    def compare(self, base: Likelihoods, tuned: Likelihoods) -> preferences.Comparison:
        """Base against tuned on the test rows."""
        raise NotImplementedError

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Prompts with two answers each."""
        return Encoding(
            LENGTH_CAP,
            lambda rows: PreferenceEncoder(rows.layout, tokenizer, job.spec.model.uri),
            sequences=SEQUENCES,
        )  # fmt: skip

    def baseline(self) -> None:
        """The base's likelihoods of both answers."""

        def measure() -> tuple[baseline.Arrays, dict[str, Any]]:
            with zero.for_passes(self.session, self.loaded.model) as model:
                found = {name: self._likelihoods(model, name) for name in self.measured_parts}
            return dict(found), {"rows": {name: len(rows) for name, rows in found.items()}}

        self.base: dict[str, NDArray[Any]] = baseline.measured(self.session, measure)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Our core with the mean of row losses."""
        arguments = TrainingArguments(**options)
        return PreferenceTrainer(args=arguments, row_loss=self.row_loss, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows."""
        rows = self.parts["validation"]
        losses = forward(model, rows, self.session, lambda m, b: self.row_loss(m, b)[:, None])
        return float(losses.astype(np.float64).mean())

    def evaluate(self, model: Any) -> None:
        """How often the chosen answer is preferred, against the base."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        tuned = self._likelihoods(model, "test")
        if session.gang.is_main:
            write_comparison(session, self.compare(self.base["test"], tuned))
            arrays = {"base": self.base["test"], "tuned": tuned}
            np.savez(session.places.report / "likelihoods.npz", **arrays)

    def describe(self, folder: Path) -> None:
        """Nothing: the model answers as its base is configured to."""

    def _likelihoods(self, model: Any, part: str) -> NDArray[np.float32]:
        return forward(model, self.parts[part], self.session, likelihoods, may_stop=True)
