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


def labels_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Binary cross-entropy of each label of each row. ``outputs.logits`` and ``labels``, which are
    0 or 1, [rows, labels].

    Divided by ``num_items_in_batch``, the rows times labels of the optimizer step.
    """
    wanted = labels.float() * (1 - smoothing) + smoothing / 2
    total = functional.binary_cross_entropy_with_logits(
        outputs["logits"].float(), wanted, reduction="sum"
    )
    return total / (num_items_in_batch if num_items_in_batch is not None else labels.numel())


def number_bits(numbers: Any) -> torch.Tensor:
    """Numbers [rows] as the bits of float32, as ``number_loss`` takes them: DeepSpeed would round
    a batch's floats to bfloat16, and transformers would not count a row whose number is -100."""
    return torch.tensor(numbers, dtype=torch.float32).view(torch.int32)


def number_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Squared error. ``outputs.logits`` [rows, 1], ``labels`` [rows] from ``number_bits``."""
    assert not smoothing
    off = outputs["logits"].float()[:, 0] - labels.view(torch.float32)
    items = num_items_in_batch if num_items_in_batch is not None else labels.numel()
    return (off * off).sum() / items


def token_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy of the learnt tokens. ``outputs.logits`` [rows, tokens, classes], with
    virtual tokens of the method first; ``labels`` [rows, tokens] with -100 where nothing is learnt.

    Divided by ``num_items_in_batch``, the learnt tokens of the optimizer step over all ranks.
    """
    logits = outputs["logits"][:, -labels.shape[1] :].float().flatten(0, 1)
    total = functional.cross_entropy(
        logits, labels.flatten(), reduction="sum", ignore_index=IGNORED, label_smoothing=smoothing
    )
    items = num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum()
    return total / items


def pointer_loss(
    logits: torch.Tensor, labels: torch.Tensor, *, smoothing: float = 0.0
) -> torch.Tensor:
    """Of each row: the mean cross-entropy of where an answer starts and where it ends [rows].

    ``logits`` [rows, tokens, 2]; ``labels`` [rows, tokens]: 1 at the start, 2 at the end, 3 at
    both, and -100 where no answer can be.
    """
    there = labels != IGNORED
    likelihood = logits.float().masked_fill(~there[..., None], float("-inf")).log_softmax(dim=1)
    losses = []
    for side, bit in enumerate((1, 2)):
        each = likelihood[..., side]
        wanted = (there & (labels & bit > 0)).int().argmax(dim=1, keepdim=True)
        right = -each.gather(1, wanted)[:, 0]
        spread = -each.masked_fill(~there, 0).sum(dim=1) / there.sum(dim=1)
        losses.append((1 - smoothing) * right + smoothing * spread)
    return torch.stack(losses).mean(dim=0)


def loss_and_tokens(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each row: the summed cross-entropy of its learnt tokens, and their number [rows, 2]."""
    each = functional.cross_entropy(
        logits.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
    )
    return torch.stack([each.sum(dim=1), (labels != IGNORED).sum(dim=1).float()], dim=1)


IN_FRAMES = IGNORED - 1
"""Less the frames of a row: what the last of its labels says."""


def letters_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    pause: int,
) -> torch.Tensor:
    """Connectionist temporal classification (Graves et al. 2006). ``outputs.logits`` [rows, frames,
    letters] of which ``pause`` is none; ``labels`` [rows, longest text + 1] are the letters, -100
    where padded, and last of all ``IN_FRAMES`` less the row's frames.

    Divided by ``num_items_in_batch``, the letters and ends of the optimizer step over all ranks.
    """
    total, items = letters_and_end(outputs["logits"], labels, pause).sum(dim=0)
    return total / (num_items_in_batch if num_items_in_batch is not None else items)


def letters_and_end(logits: torch.Tensor, labels: torch.Tensor, pause: int) -> torch.Tensor:
    """Of each row: the loss of its text, and the number of its letters and its end [rows, 2]."""
    frames, letters = IN_FRAMES - labels[:, -1], labels[:, :-1]
    known = letters != IGNORED
    lengths = known.sum(dim=1)
    losses = functional.ctc_loss(
        logits.float().log_softmax(dim=-1).transpose(0, 1), letters[known], frames, lengths,
        blank=pause, reduction="none",
    )  # fmt: skip
    return torch.stack([losses, (lengths + 1).float()], dim=1)
