"""Losses that do not depend on how a global batch is shared.

The stock heads average over their own micro-batch and ignore how many rows the optimizer step
has, so their loss and gradients grow with ranks × accumulation. Ours is a sum divided by the rows
of the whole step: any way of sharing gives the same gradients. (DDP and ZeRO average gradients
over ranks; transformers' Trainer multiplies such a loss by the ranks to undo it.)
"""

from typing import Any

import torch
from torch.nn import functional

from finetune_trainer.data.encode import IGNORED


def classification_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy. ``outputs.logits`` [rows, classes], ``labels`` [rows]; ``smoothing`` is the
    share of the target that is spread over all classes.

    Divided by ``num_items_in_batch``, the rows of the optimizer step over all ranks; by the rows
    at hand when there is none (validation).
    """
    logits = outputs["logits"].float()
    total = functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    items = num_items_in_batch if num_items_in_batch is not None else labels.numel()
    return total / items


def token_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int,
    *,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy of the learnt tokens. ``outputs.logits`` [rows, tokens, vocabulary], ``labels``
    [rows, tokens] with -100 where nothing is learnt.

    Divided by ``num_items_in_batch``, the learnt tokens of the optimizer step over all ranks.
    """
    total = functional.cross_entropy(
        outputs["logits"].float().flatten(0, 1), labels.flatten(),
        reduction="sum", label_smoothing=smoothing, ignore_index=IGNORED,
    )  # fmt: skip
    return total / num_items_in_batch


def loss_and_tokens(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each row: the summed cross-entropy of its learnt tokens, and their number [rows, 2]."""
    each = functional.cross_entropy(
        logits.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
    )
    return torch.stack([each.sum(dim=1), (labels != IGNORED).sum(dim=1).float()], dim=1)
