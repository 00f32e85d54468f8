"""Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300).

The model answers each prompt several times; an answer becomes likelier by how much its reward is
above the mean of its prompt's answers, in units of their spread. Answers are written anew for
every step, so the ratio that the paper clips is 1, and nothing is clipped; there is no term that
keeps the model near its base.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import add_fused_lm_head

from finetune_api.dataset import Overlength
from finetune_api.errors import UserError
from finetune_api.grpo import Grpo
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import Layout
from finetune_api.progress import Stage
from finetune_trainer.data.encode import IGNORED, Encoder
from finetune_trainer.data.gather import Gathered
from finetune_trainer.data.prompts import REFERENCE, PromptEncoder
from finetune_trainer.evaluate import compare as comparing
from finetune_trainer.evaluate.compare import Scores
from finetune_trainer.evaluate.forward import ROW, Rows, inference
from finetune_trainer.evaluate.generate import Reference, Writer, padded
from finetune_trainer.evaluate.report import write_answers
from finetune_trainer.evaluate.rewards import Rewards, worth
from finetune_trainer.evaluate.sample import Sampler
from finetune_trainer.losses import number_bits
from finetune_trainer.model.load import Loaded
from finetune_trainer.objectives.preference import PreferenceTrainer, likelihood
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding

LENGTH_CAP = 2048
ADVANTAGE = "advantage"
"""By how much an answer is better than its prompt's others, as bits."""
LEAST_SPREAD = 1e-4
SAMPLING = 8
"""Sets the seeds of answers apart from those of other draws."""


class GRPO:
    """Has the model answer, trains by what answers are worth, has it answer again."""

    def __init__(self, session: Session, tokenizer: Any, loaded: Loaded) -> None:
        self.session, self.tokenizer, self.loaded = session, tokenizer, loaded
        self.asked = _asked(session.job)
        self.rewards = Rewards(self.asked.rewards)
        self.parts = {
            name: replace(rows, dataset=rows.dataset.add_column(ROW, list(range(len(rows)))))
            for name, rows in Rows.of_parts(
                session.places.prepared, PromptCollator(tokenizer.pad_token_id)
            ).items()
        }
        self.sampler = Sampler(session, tokenizer, self.asked, loaded.model)
        self.writer, self.watching = (
            PromptWriter(session, tokenizer, self.parts[name], self.sampler)
            for name in ("test", "validation")
        )
        add_fused_lm_head(loaded.model)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Prompts; UserError when a reward cannot be given."""
        asked, uri = _asked(job), job.spec.model.uri
        Rewards(asked.rewards)

        def encoder(rows: Gathered) -> Encoder:
            if asked.rewards.exact_match is not None and rows.layout is Layout.PROMPT:
                column = job.spec.dataset.columns.completion
                raise UserError(
                    f"training.grpo.rewards.exactMatch compares with column {column!r}, which the "
                    "rows do not have",
                    "name it in dataset.columns.completion, or remove this reward",
                )
            return PromptEncoder(tokenizer, uri)

        return Encoding(
            LENGTH_CAP, encoder, Overlength.DROP,
            sequences=asked.generations, new_tokens=asked.max_new_tokens,
        )  # fmt: skip

    def baseline(self) -> None:
        """What the base answers to the test rows' prompts."""
        self.base = self.writer.of_base(self.loaded.model)

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """Our core, which writes before it learns."""
        arguments = TrainingArguments(**options)
        self.trained = GRPOTrainer(args=arguments, row_loss=row_loss, written=self.written, **parts)
        return self.trained

    def written(self, model: Any, numbers: list[int], step: int) -> tuple[dict[str, Any], Scores]:
        """Answers to the training rows of these numbers as a batch, and their rewards
        [rows, answers]."""
        asked, seed = self.asked.generations, self.session.job.spec.training.seed
        rows = [self.parts["train"].dataset[number] for number in numbers for _ in range(asked)]
        prompts = [row["input_ids"] for row in rows]
        seeds = [(seed, SAMPLING, step, n, time) for n in numbers for time in range(asked)]
        with inference(model, autocast=self.session.autocast):
            answers = self.sampler.sample(model, prompts, seeds)
        self.session.beat()
        texts = [self.writer.text(answer) for answer in answers]
        references = [row[REFERENCE.name] for row in rows]
        found = worth(self.rewards, self.tokenizer, texts, references).reshape(-1, asked)
        return self._batch(prompts, answers, advantages(found).ravel()), found

    def _batch(
        self, prompts: list[list[int]], answers: list[list[int]], better: Scores
    ) -> dict[str, torch.Tensor]:
        texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        ids, mask = padded(texts, self.tokenizer.pad_token_id, before=False)
        labels = torch.where(mask == 1, ids, IGNORED)
        for number, prompt in enumerate(prompts):
            labels[number, : len(prompt)] = IGNORED
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        batch[ADVANTAGE] = number_bits(better)
        return {name: value.to(self.session.gang.device) for name, value in batch.items()}

    def validate(self, model: Any) -> float:
        """The mean reward of greedy answers to the validation prompts, negative: less is better."""
        with self.trained.writing() as whole:
            answers = self.watching.answers(whole, may_stop=False)
        return -float(self._worth(self.watching, answers).mean())

    def evaluate(self, model: Any) -> None:
        """The mean reward of greedy answers against the base's."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        tuned = self.writer.answers(model)
        if session.gang.is_main:
            scores = [self._worth(self.writer, answers) for answers in (self.base, tuned)]
            metrics = {"reward": comparing.mean_of(*scores)}
            seed = session.job.spec.training.seed
            result = comparing.compare(metrics, *scores, seed=seed)
            write_answers(session, result, self.writer.references(), self.base, tuned)
            arrays = dict(zip(("base", "tuned"), scores, strict=True))
            np.savez(session.places.report / "rewards.npz", **arrays)

    def describe(self, folder: Path) -> None:
        """How answers end, so that any program that loads the model stops where it should."""
        self.writer.generation_config().save_pretrained(folder)

    def _worth(self, writer: "PromptWriter", answers: list[str]) -> Scores:
        references = [row.answer for row in writer.references()]
        return worth(self.rewards, self.tokenizer, answers, references)


def row_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """-advantage × mean log-likelihood of the answer's tokens [answers]. Its gradient is that of
    the paper's ratio, which is 1 here."""
    found = likelihood(model, batch)
    better = batch[ADVANTAGE].view(torch.float32)
    return -better * found[:, 0] / found[:, 1].clamp(min=1)


def advantages(rewards: Scores) -> Scores:
    """Rewards less their prompt's mean, over their spread [prompts, answers]."""
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    found: Scores = (rewards - rewards.mean(axis=1, keepdims=True)) / (spread + LEAST_SPREAD)
    return found


def _asked(job: JobConfig) -> Grpo:
    asked = job.spec.training.grpo
    assert asked is not None
    return asked


class GRPOTrainer(PreferenceTrainer):
    """Has the model answer the prompts of a whole optimizer step before its first micro-batch."""

    def __init__(self, *, written: Any, **options: Any) -> None:
        super().__init__(**options)
        self.written = written

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """The step's answers on this rank, micro-batch by micro-batch."""
        batches, items = super().get_batch_samples(*args, **options)
        step = self.state.global_step
        with self.writing() as model:
            made = [self.written(model, batch[ROW].tolist(), step) for batch in batches]
        everyone = self.session.gang.gather_objects([found for _, found in made])
        rewards = np.concatenate([found for rank in everyone for found in rank])
        self.steps.more = {"reward": float(rewards.mean()), "reward_spread": float(rewards.std())}
        return [batch for batch, _ in made], items

    def writing(self) -> Any:
        """The model as it writes between steps. Weights that ZeRO-3 splits are whole meanwhile:
        gathered layer by layer for every token, they are not there for the next backward pass."""
        kwargs = self.args.gradient_checkpointing_kwargs
        return unwrap_model_for_generation(
            self.model_wrapped, self.accelerator, gradient_checkpointing_kwargs=kwargs
        )


class PromptWriter(Writer):
    """Answers prompts greedily; what is right may not be known."""

    def __init__(self, session: Session, tokenizer: Any, rows: Rows, sampler: Sampler) -> None:
        super().__init__(session, tokenizer, rows)
        self.stops, self.new_tokens = sampler.stops, sampler.asked.max_new_tokens

    def parted(self, row: dict[str, Any]) -> tuple[list[int], list[int]]:
        """The prompt."""
        return row["input_ids"], []

    def references(self) -> list[Reference]:
        """What was asked, and what is right, empty where the rows do not say."""
        return [Reference(self._asked(row["input_ids"]), row[REFERENCE.name]) for row in self.rows]


class PromptCollator:
    """Pads prompts to the longest."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` [rows, longest], ``row`` [rows]."""
        ids, mask = padded([row["input_ids"] for row in rows], self.pad, before=True)
        return {"input_ids": ids, "attention_mask": mask, ROW: torch.tensor([r[ROW] for r in rows])}
