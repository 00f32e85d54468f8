"""Losses of rows that do not matter, computed as training does: what a pass takes shows on them."""

import math
from typing import Any

import torch

from finetune_trainer.model.image_processor import BLOCK

TOKEN = 1
"""A token that every vocabulary has."""


def of_scores(model: Any, rows: int, length: int) -> torch.Tensor:
    """A model of texts with a head: all its scores are compared with something."""
    ids = _tokens(rows, length)
    return _sum(model(input_ids=ids, attention_mask=torch.ones_like(ids)))


def of_language_model(model: Any, rows: int, length: int) -> torch.Tensor:
    """A causal language model with TRL's head, which computes scores in chunks."""
    from trl.trainer.utils import add_fused_lm_head

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not hasattr(base, "has_fused_head"):
        add_fused_lm_head(base)
        base.has_fused_head = True
    ids = _tokens(rows, length)
    mask = torch.ones_like(ids)
    outputs = model(
        input_ids=ids, attention_mask=mask, labels=ids, use_cache=False, fused_lm_head=True
    )
    loss: torch.Tensor = outputs.loss
    return loss


def of_encoder_decoder(model: Any, rows: int, length: int) -> torch.Tensor:
    """Sources and targets, both as long as rows get."""
    from finetune_trainer.losses import token_loss

    ids = _tokens(rows, length)
    mask = torch.ones_like(ids)
    outputs = model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids)
    return token_loss(outputs, ids)


def of_images(model: Any, rows: int, length: int) -> torch.Tensor:
    """A model of images, which are so many patches or blocks large."""
    config = model.config
    side = BLOCK * math.ceil(math.sqrt(length))
    if isinstance(getattr(config, "patch_size", None), int):
        side = config.image_size
    images = torch.zeros(rows, config.num_channels, side, side)
    return _sum(model(pixel_values=images))


def of_dictation(model: Any, rows: int, length: int) -> torch.Tensor:
    """Recordings of the only length that the model hears, and texts as long as rows get."""
    from finetune_trainer.losses import token_loss

    ids = _tokens(rows, length)
    outputs = model(input_features=_spectrograms(model.config, rows), decoder_input_ids=ids)
    return token_loss(outputs, ids)


def of_recordings(model: Any, rows: int, length: int) -> torch.Tensor:
    """A model of sound: of waves that become so many frames, or of spectrograms of one size."""
    config = model.config
    if hasattr(config, "conv_stride"):
        waves = torch.zeros(rows, (length + 1) * math.prod(config.conv_stride))
        return _sum(model(input_values=waves))
    if hasattr(config, "max_source_positions"):
        return _sum(model(input_features=_spectrograms(config, rows)))
    return _sum(model(input_values=torch.zeros(rows, config.max_length, config.num_mel_bins)))


def _spectrograms(config: Any, rows: int) -> torch.Tensor:
    return torch.zeros(rows, config.num_mel_bins, 2 * config.max_source_positions)


def _tokens(rows: int, length: int) -> torch.Tensor:
    return torch.full((rows, length), TOKEN)


def _sum(outputs: Any) -> torch.Tensor:
    scores = [value for name, value in outputs.items() if name.endswith("logits")]
    return torch.stack([score.float().square().sum() for score in scores]).sum()
