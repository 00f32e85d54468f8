"""What a model with a decoder writes of the test rows' recordings."""

import copy
from typing import Any

import numpy as np

from finetune_trainer import zero
from finetune_trainer.evaluate import baseline
from finetune_trainer.evaluate.forward import Rows, forward_rows
from finetune_trainer.evaluate.generate import MAX_ROWS, SPARE_TOKENS
from finetune_trainer.model.dictation_processor import DictationProcessor
from finetune_trainer.session import Session


class Listener:
    """Has a model write the same test rows again and again."""

    def __init__(self, session: Session, processor: DictationProcessor, test: Rows) -> None:
        self.session, self.processor = session, processor
        rng = np.random.default_rng([session.job.spec.training.seed, 5])
        chosen = np.sort(rng.permutation(len(test))[:MAX_ROWS])
        some = test.some(chosen)
        heard = np.int32(processor.positions(0))
        # What is heard takes as much room as what is written.
        self.rows = Rows(some.dataset, some.collate, some.lengths + heard)
        self.wanted = [processor.text(ids) for ids in some.dataset["labels"]]
        longest = max(map(len, some.dataset["labels"])) + SPARE_TOKENS
        self.new_tokens = min(longest, processor.longest_tokens - len(processor.beginning))

    def generation_config(self) -> Any:
        """The model's own, deterministic, with room for the longest reference."""
        config = copy.deepcopy(self.processor.generation)
        asked = {
            "do_sample": False, "max_new_tokens": self.new_tokens, "max_length": None,
            "return_timestamps": False, "eos_token_id": self.processor.tokenizer.eos_token_id,
            "pad_token_id": self.processor.pad_token_id,
            "decoder_start_token_id": self.processor.beginning[0],
        }  # fmt: skip
        for name, value in asked.items():
            setattr(config, name, value)
        return config

    def of_base(self, model: Any) -> list[str]:
        """What the base ``model`` writes, or wrote before; before anything is trained."""
        found: list[str] = baseline.passed(self.session, model, self.written, "written").tolist()
        return found

    def written(self, model: Any) -> list[str]:
        """What ``model`` writes, on every rank; Stopped when one is asked to."""

        def write(batch: dict[str, Any], count: int) -> list[str]:
            ids = model.generate(
                input_features=batch["input_features"],
                generation_config=self.generation_config(),
                synced_gpus=zero.splits(self.session),
            )
            return [self.processor.text(row) for row in ids.tolist()[:count]]

        return forward_rows(model, self.rows, self.session, write, may_stop=True)
