"""What keeps weights small or near the base's, beside weight decay.

L1 is a proximal step after the optimizer's own (Parikh & Boyd 2014, section 6.5.2), so weights
become exactly 0; it acts on what the optimizer holds, whole weights or ZeRO's shards. L2-SP is part
of what is minimised.
"""

from typing import Any

import torch
from torch import nn


def shrink_after_steps(optimizer: Any, l1: float) -> None:
    """Let every step of a torch optimizer be followed by the proximal step of ``l1`` on its first
    group, the matrices."""
    optimizer.param_groups[0]["l1"] = l1
    optimizer.register_step_post_hook(_shrink)


@torch.no_grad()
def _shrink(optimizer: Any, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        threshold = group["lr"] * group.get("l1", 0.0)
        if threshold:
            for weight in group["params"]:
                weight.copy_(nn.functional.softshrink(weight, threshold))


class NearBase:
    """Half of ``strength`` × the squared distance of the trained weights to where they start."""

    def __init__(self, model: nn.Module, strength: float) -> None:
        self.strength = strength
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._start = [weight.detach().clone() for weight in self._weights]

    def penalty(self) -> torch.Tensor:
        """Its value, with gradient."""
        pairs = zip(self._weights, self._start, strict=True)
        squares = [(weight - start).float().square().sum() for weight, start in pairs]
        return self.strength / 2 * torch.stack(squares).sum()
