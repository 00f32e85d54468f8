"""Supervised fine-tuning with TRL: cross-entropy of the answers' tokens.

TRL's language-model head computes it in chunks, so the scores of all tokens are never held at
once; its sum is divided by the learnt tokens of the whole optimizer step.
"""

from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from finetune_trainer.train import FineTuneTrainer


class SupervisedTrainer(FineTuneTrainer, SFTTrainer):
    """SFTTrainer on encoded rows. It writes no model card: the report says more."""

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Nothing."""


def supervised_trainer(options: dict[str, Any], **parts: Any) -> SupervisedTrainer:
    """The trainer. ``options`` are TrainingArguments by name."""
    arguments = SFTConfig(
        **options, max_length=None, packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    return SupervisedTrainer(args=arguments, **parts)


def loss_and_tokens(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of each row: the summed loss of its learnt tokens, and their number [rows, 2].

    ``model`` is one that ``supervised_trainer`` has been given.
    """
    outputs = model(**batch, use_cache=False, fused_lm_head=True)
    learnt = outputs.label_mask.sum(dim=1).float()
    return torch.stack([-outputs.log_probs.float().sum(dim=1), learnt], dim=1)
