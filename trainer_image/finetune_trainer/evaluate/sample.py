"""Answers drawn from a model's own probabilities, the same however ranks share the prompts.

The draw is a greedy choice after noise was added to the scores (Gumbel-max): every answer has a
source of noise of its own, seeded by what it is for. So an answer depends on no other row of its
batch, nor on what was drawn before: a resumed run writes what the first one would have.
"""

from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from finetune_api.grpo import Grpo
from finetune_trainer import zero
from finetune_trainer.evaluate.generate import padded
from finetune_trainer.session import Session

BEAT_TOKENS = 32


class Sampler:
    """Draws answers as a job asks for."""

    def __init__(self, session: Session, tokenizer: Any, asked: Grpo, model: Any) -> None:
        self.session, self.tokenizer, self.asked = session, tokenizer, asked
        own = model.generation_config.eos_token_id
        ends = own if isinstance(own, list) else [own]
        self.stops = sorted({tokenizer.eos_token_id, *(end for end in ends if end is not None)})

    def config(self) -> Any:
        """How answers end."""
        return GenerationConfig(
            do_sample=False, max_new_tokens=self.asked.max_new_tokens, eos_token_id=self.stops,
            pad_token_id=self.tokenizer.pad_token_id, bos_token_id=self.tokenizer.bos_token_id,
        )  # fmt: skip

    def sample(
        self, model: Any, prompts: list[list[int]], seeds: list[tuple[int, ...]]
    ) -> list[list[int]]:
        """An answer's tokens for each prompt, with the one that ends it, if it ended. ``model`` is
        in eval mode."""
        ids, mask = padded(prompts, self.tokenizer.pad_token_id, before=True)
        device = self.session.gang.device
        noise = Noise(self.asked.temperature, seeds, device, self.session)
        output = model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device),
            generation_config=self.config(), logits_processor=LogitsProcessorList([noise]),
            synced_gpus=zero.splits(self.session),
        )  # fmt: skip
        return [self._ended(answer) for answer in output[:, ids.shape[1] :].tolist()]

    def _ended(self, answer: list[int]) -> list[int]:
        end = next((n for n, token in enumerate(answer) if token in self.stops), len(answer))
        return answer[: end + 1]


class Noise(LogitsProcessor):
    """Scores over temperature, with noise that makes the largest a draw from their softmax."""

    def __init__(
        self,
        temperature: float,
        seeds: list[tuple[int, ...]],
        device: torch.device,
        session: Session,
    ) -> None:
        self.temperature, self.session, self.position = temperature, session, 0
        self.sources = [torch.Generator(device).manual_seed(_mixed(seed)) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.position += 1
        if self.position % BEAT_TOKENS == 0:
            self.session.beat()
        drawn = torch.empty_like(scores, dtype=torch.float32)
        for row, source in zip(drawn, self.sources, strict=True):
            row.exponential_(generator=source)
        return scores.float() / self.temperature - drawn.log()


def _mixed(seed: tuple[int, ...]) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
