"""Texts that a model with an encoder and a decoder makes of the test rows' sources."""

from typing import Any

from finetune_trainer.evaluate.forward import Rows
from finetune_trainer.evaluate.generate import Writer
from finetune_trainer.session import Session

KEPT = (
    "bad_words_ids", "bos_token_id", "decoder_start_token_id", "early_stopping", "eos_token_id",
    "forced_bos_token_id", "length_penalty", "no_repeat_ngram_size", "num_beams", "pad_token_id",
    "repetition_penalty", "suppress_tokens",
)  # fmt: skip
"""What is taken of a model's own generation configuration."""


class Rewriter(Writer):
    """Writes as the model's own generation configuration says: beams, length penalty, the first
    token of a language. Its bounds on length do not count, which belong to other data."""

    continues = False

    def __init__(self, session: Session, tokenizer: Any, test: Rows, model: Any) -> None:
        self._of_model = model.generation_config
        super().__init__(session, tokenizer, test)

    def parted(self, row: dict[str, Any]) -> tuple[list[int], list[int]]:
        """Source and target."""
        return row["input_ids"], row["labels"]

    def generation_config(self) -> Any:
        """The model's, deterministic, with room for the longest reference."""
        from transformers import GenerationConfig

        own = self._of_model.to_dict()
        asked = {
            "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
            **{name: own[name] for name in KEPT if own.get(name) is not None},
            **self._language(),
        }
        return GenerationConfig(do_sample=False, max_new_tokens=self.new_tokens, **asked)

    def _language(self) -> dict[str, int]:
        """The special token that all targets begin with, mostly that of their language. mBART's
        decoder begins with the one that stands after the end."""
        first, *others = {ending[0] for ending in self.endings}
        begun = first in self.tokenizer.all_special_ids and not others
        asked = {"forced_bos_token_id": first} if begun else {}
        tails = {tuple(ending[-2:]) for ending in self.endings}
        end, last, *_ = (*tails.pop(), None)
        if not tails and last is not None and end == self.tokenizer.eos_token_id:
            asked["decoder_start_token_id"] = last
        return asked

    def _asked(self, ids: list[int]) -> str:
        return self.text(ids)
