"""Networks of convolutions: what they keep for the backward pass is counted, not estimated."""

import math
from typing import Any

import torch
from torch import nn

from finetune_trainer.model.image_processor import BLOCK

SIDE = 4 * BLOCK
"""Pixels a side of the picture that is counted with; what is kept grows with the area."""
DEPTH_FIELD = "depths"
"""What configurations of such networks have; others that have it cut images into patches."""


def kept_a_position(model: Any) -> int:
    """Numbers that a block of ``BLOCK`` x ``BLOCK`` pixels keeps; 0 for models that are not made
    of convolutions alone. The outputs of all layers, and of what normalises and bends them."""
    config = model.config
    if not hasattr(config, DEPTH_FIELD) or hasattr(config, "patch_size"):
        return 0
    count = 0

    def add(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal count
        count += output.numel() if isinstance(output, torch.Tensor) else 0

    leaves = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(add) for module in leaves]
    with torch.no_grad():
        model(pixel_values=torch.empty(1, config.num_channels, SIDE, SIDE, device=model.device))
    for handle in handles:
        handle.remove()
    return math.ceil(count / (SIDE // BLOCK) ** 2)
