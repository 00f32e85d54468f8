"""Batch normalisation that keeps the base's statistics.

Statistics of a batch would depend on how a global batch is shared: loss and gradients could not be
the same for any number of ranks, and each rank would end with running means of its own.
"""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def keep_statistics(model: nn.Module) -> int:
    """Have every batch normalisation use its stored mean and variance, in training as well; scale
    and shift are still learnt. Returns how many there are."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.register_forward_pre_hook(_stay)
    return len(norms)


def _stay(norm: nn.Module, inputs: Any) -> None:
    norm.training = False
