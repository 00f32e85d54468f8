"""Cross-entropy of tokens with TRL's SFTTrainer.

TRL's language-model head computes it in chunks, so the scores of all tokens are never held at
once; its sum is divided by the learnt tokens of the whole optimizer step.
"""

from typing import Any

import numpy as np
import torch
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from finetune_trainer.evaluate.forward import Rows, forward
from finetune_trainer.session import Session
from finetune_trainer.train import FineTuneTrainer


class CrossEntropyTrainer(FineTuneTrainer, SFTTrainer):
    """SFTTrainer on encoded rows. It writes no model card: the report says more."""

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Nothing."""


def cross_entropy_trainer(options: dict[str, Any], **parts: Any) -> CrossEntropyTrainer:
    """The trainer. ``options`` are TrainingArguments by name."""
    arguments = SFTConfig(
        **options, max_length=None, packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    return CrossEntropyTrainer(args=arguments, **parts)


def collator(pad: int, *, flat: bool = False) -> Any:
    """Pads ids and labels to the longest row of the batch, or lays its rows end to end."""
    return DataCollatorForLanguageModeling(pad_token_id=pad, padding_free=flat)


def loss_and_tokens(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of each row: the summed loss of its learnt tokens, and their number [rows, 2].

    ``model`` is one that has TRL's language-model head.
    """
    outputs = model(**batch, use_cache=False, fused_lm_head=True)
    learnt = outputs.label_mask.sum(dim=1).float()
    return torch.stack([-outputs.log_probs.float().sum(dim=1), learnt], dim=1)


def mean_loss(model: Any, rows: Rows, session: Session) -> float:
    """Mean loss of the learnt tokens of all rows."""
    loss, tokens = forward(model, rows, session, loss_and_tokens).astype(np.float64).sum(axis=0)
    return float(loss / tokens)
