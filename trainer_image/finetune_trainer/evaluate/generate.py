"""Answers to the test rows' prompts, written greedily and shared by the ranks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finetune_trainer import zero
from finetune_trainer.evaluate import baseline
from finetune_trainer.evaluate.forward import Rows, inference
from finetune_trainer.evaluate.turns import turns
from finetune_trainer.session import Session

MAX_ROWS = 1000
"""Test rows that are answered at most: writing is slow, and more tell little more."""
SPARE_TOKENS = 16
"""Tokens an answer may be longer than the longest reference."""


@dataclass(frozen=True)
class Reference:
    """A test row as text."""

    prompt: str
    answer: str


class Writer:
    """Has a model answer the same test rows again and again."""

    continues = True
    """Does the answer go on after the prompt, in the same tokens? Then padding comes first."""

    def __init__(self, session: Session, tokenizer: Any, test: Rows) -> None:
        self.session, self.tokenizer = session, tokenizer
        rng = np.random.default_rng([session.job.spec.training.seed, 5])
        chosen = np.sort(rng.permutation(len(test))[:MAX_ROWS])
        self.rows = [test.dataset[int(row)] for row in chosen]
        self.prompts, self.endings = map(list, zip(*map(self.parted, self.rows), strict=True))
        self.new_tokens = max(map(len, self.endings)) + SPARE_TOKENS
        self.stops = self._stops()

    def parted(self, row: dict[str, Any]) -> tuple[list[int], list[int]]:
        """What the model is given of a row, and what it is to write."""
        ids, answer = row["input_ids"], row["prompt_length"]
        return ids[:answer], ids[answer:]

    def references(self) -> list[Reference]:
        """What was asked and what is right, in the order of the answers."""
        pairs = zip(self.prompts, self.endings, strict=True)
        return [Reference(self._asked(prompt), self.text(ending)) for prompt, ending in pairs]

    def generation_config(self) -> Any:
        """Greedy, up to a token that ends answers."""
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=False, max_new_tokens=self.new_tokens, eos_token_id=self.stops,
            pad_token_id=self.tokenizer.pad_token_id, bos_token_id=self.tokenizer.bos_token_id,
        )  # fmt: skip

    def of_base(self, model: Any) -> list[str]:
        """What the base ``model`` answers, or answered before; before anything is trained."""
        found: list[str] = baseline.passed(self.session, model, self.answers, "answers").tolist()
        return found

    def answers(self, model: Any, *, may_stop: bool = True) -> list[str]:
        """What ``model`` answers, on every rank; Stopped when ``may_stop`` and one is asked to."""
        gang = self.session.gang
        widths = np.array([len(prompt) + self.new_tokens for prompt in self.prompts], np.int32)
        written: dict[int, str] = {}
        with inference(model, autocast=self.session.autocast):
            for rows, count in turns(widths, gang.rank, gang.world):
                texts = self._answer(model, rows)
                written.update(zip(rows[:count].tolist(), texts, strict=False))
                self.session.beat()
                if may_stop:
                    self.session.leave_if_asked()
        merged: dict[int, str] = {}
        for part in gang.gather_objects(written):
            merged.update(part)
        return [merged[row] for row in range(len(self.prompts))]

    def _answer(self, model: Any, rows: NDArray[np.int64]) -> list[str]:
        """One batch, padded so that all answers start at the same place."""
        prompts = [self.prompts[int(row)] for row in rows]
        ids, mask = padded(prompts, self.tokenizer.pad_token_id, before=self.continues)
        longest, device = ids.shape[1], self.session.gang.device
        output = model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device),
            generation_config=self.generation_config(),
            synced_gpus=zero.splits(self.session),
        )  # fmt: skip
        written = output[:, longest:] if self.continues else output
        return [self.text(answer) for answer in written.tolist()]

    def _asked(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids)
        return text

    def text(self, ids: list[int]) -> str:
        """Tokens as text, without special ones and spaces around it."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()

    def _stops(self) -> list[int]:
        """The end-of-text token, and the special tokens that references end with."""
        special = set(self.tokenizer.all_special_ids)
        ends = {self.tokenizer.eos_token_id}
        for ending in self.endings:
            last = next((token for token in reversed(ending) if token in special), None)
            if last is not None:
                ends.add(last)
        return sorted(ends)


def padded(texts: list[list[int]], pad: int, *, before: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [texts, longest], padding before or after each text."""
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest), pad, dtype=torch.int64)
    mask = torch.zeros((len(texts), longest), dtype=torch.int64)
    for number, text in enumerate(texts):
        start = longest - len(text) if before else 0
        ids[number, start : start + len(text)] = torch.tensor(text)
        mask[number, start : start + len(text)] = 1
    return ids, mask
