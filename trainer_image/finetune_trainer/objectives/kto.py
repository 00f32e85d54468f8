"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306).

A good answer's likelihood must grow over the base's, and a bad one's fall, by more than that of
answers as such. What answers as such gain is told by prompts with answers to other prompts: one
estimate a global batch, over all ranks and micro-batches, so that it does not depend on how they
share the batch. Good and bad answers weigh the same in all, however many there are of each.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from finetune_api.jobconfig import JobConfig
from finetune_trainer.data.judgements import JudgedEncoder
from finetune_trainer.evaluate import judgements
from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.evaluate.forward import JUDGED, REFERENCE, Rows, forward, inference
from finetune_trainer.evaluate.preferences import Likelihoods
from finetune_trainer.losses import number_bits
from finetune_trainer.model.load import Loaded
from finetune_trainer.objectives.preference import (
    LENGTH_CAP,
    READ,
    PairCollator,
    Preference,
    PreferenceTrainer,
    likelihood,
    likelihoods,
)
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

OTHER = "other_ids"
DRIFT = "drift"
"""What answers as such gain, beside each row, as bits."""


class KTO(Preference):
    """Measures the base on all rows, then trains toward the good answers."""

    measured_parts = ("train", "validation", "test")

    def __init__(self, session: Session, tokenizer: Any, loaded: Loaded) -> None:
        super().__init__(session, tokenizer, loaded)
        seed, longest = session.job.spec.training.seed, session.plan.max_length
        collate = JudgedCollator(tokenizer.pad_token_id, OTHER)
        for name, rows in self.parts.items():
            paired = WithOthers(rows.dataset, others(len(rows), seed), longest)
            self.parts[name] = Rows(paired, collate, rows.lengths)
        good = self.judged("train")
        # A side without rows has no weight that would matter.
        sides = np.maximum([(~good).sum(), good.sum()], 1)
        self.weights = torch.tensor(len(good) / 2 / sides, dtype=torch.float32)
        """Of bad answers and of good ones."""

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Prompts with one answer each."""
        return Encoding(
            LENGTH_CAP, lambda rows: JudgedEncoder(rows.layout, tokenizer, job.spec.model.uri)
        )

    def judged(self, part: str) -> NDArray[np.bool_]:
        """Which answers of a part are good [rows]."""
        return np.asarray(self.parts[part].dataset.rows[JUDGED][:], bool)

    def baseline(self) -> None:
        """Measure the base and give each row its likelihoods."""
        super().baseline()
        for name, rows in self.parts.items():
            known = replace(rows.dataset, reference=self.base[name])
            self.parts[name] = replace(rows, dataset=known)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Our core with one estimate of the drift a step."""
        from transformers import TrainingArguments

        arguments = TrainingArguments(**options)
        return KTOTrainer(args=arguments, row_loss=self.row_loss, **parts)

    def row_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each row's own answer [rows]."""
        rows = len(batch[JUDGED])
        found = likelihood(model, {name: batch[name][:rows] for name in READ})[:, 0]
        gained = found - batch[REFERENCE].view(torch.float32)[:, 0]
        drift = batch[DRIFT].view(torch.float32)
        return self.loss(gained, drift, batch[JUDGED])

    def loss(self, gained: torch.Tensor, drift: Any, good: torch.Tensor) -> torch.Tensor:
        """weight × (1 - σ(±β × (gained - drift))), + for good answers [rows]."""
        sign = 2.0 * good.float() - 1.0
        weight = self.weights.to(gained.device)[good.long()]
        return weight * (1 - torch.sigmoid(self.beta * sign * (gained - drift)))

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows, with their own drift."""
        rows = self.parts["validation"]
        found = forward(model, rows, self.session, likelihoods)
        gained = torch.from_numpy(found - self.base["validation"]).double()
        good = torch.from_numpy(self.judged("validation"))
        return float(self.loss(gained[:, 0], gained[:, 2].mean().clamp(min=0), good).mean())

    def compare(self, base: Likelihoods, tuned: Likelihoods) -> Comparison:
        """How well likelihoods, and their gain over the base's, tell good answers from bad."""
        seed = self.session.job.spec.training.seed
        return judgements.compare(self.judged("test"), base, tuned, seed=seed)


class KTOTrainer(PreferenceTrainer):
    """Estimates the drift from the rows of a whole optimizer step, before its first micro-batch."""

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """The step's micro-batches on this rank, each row with the drift beside it."""
        batches, items = super().get_batch_samples(*args, **options)
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        with inference(self.model, autocast=self.session.autocast):
            for batch in batches:
                total += self._gained(batch)
        if self.session.gang.world > 1:
            dist.all_reduce(total)
        drift = float((total[0] / total[1]).clamp(min=0))
        for batch in batches:
            batch[DRIFT] = number_bits([drift] * len(batch[JUDGED])).to(self.args.device)
        return batches, items

    def _gained(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the answers to other prompts gained in all, and their number."""
        rows = len(batch[JUDGED])
        others = {name: batch[name][rows:].to(self.args.device) for name in READ}
        before = batch[REFERENCE].to(self.args.device).view(torch.float32)[:, 2]
        gained = (likelihood(self.model, others)[:, 0] - before).double().sum()
        return torch.stack([gained, torch.tensor(float(rows)).to(gained)])


class JudgedCollator(PairCollator):
    """Rows' own answers, then the others, and which of the own are good."""

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """As of any pairs, and ``good`` [rows]."""
        return super().__call__(rows) | {JUDGED: torch.tensor([row[JUDGED] for row in rows])}


@dataclass(frozen=True)
class WithOthers:
    """Rows, each also with its prompt before another row's answer, cut to ``longest`` tokens; and,
    once it is known, with what the base makes of both."""

    rows: Any
    partners: NDArray[np.int64]
    longest: int
    reference: Likelihoods | None = None

    def __len__(self) -> int:
        return len(self.partners)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row, other = self.rows[number], self.rows[int(self.partners[number])]
        asked, answer = row["input_ids"][: row["prompt_length"]], other["input_ids"]
        row[OTHER] = [*asked, *answer[other["prompt_length"] :]][: self.longest]
        if self.reference is not None:
            row[REFERENCE] = self.reference[number].tolist()
        return row


def others(count: int, seed: int) -> NDArray[np.int64]:
    """For each row the number of another: all stand in one drawn ring [rows]."""
    ring = np.random.default_rng([seed, 6]).permutation(count)
    partners = np.empty(count, np.int64)
    partners[ring] = np.roll(ring, 1)
    return partners
