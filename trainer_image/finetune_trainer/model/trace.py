"""Memory of a training pass, found by making one on fake tensors: they have shapes and no memory.

Every operation of the model's own code runs, with the method applied, so whatever an architecture
keeps for its backward pass is counted: no formula has to know it.
"""

import gc
import sys
import warnings
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from finetune_api.estimate import FLOAT32, Pass, Passes

Trial = Callable[[Any, int, int], torch.Tensor]
"""The loss of so many rows of so many tokens, as training computes it."""


def traced(model: Any, trial: Trial, length: int) -> Passes:
    """What passes of ``model``, which is on torch's meta device and of no other use afterwards,
    take. Two passes are made a setting; more rows take as much more as the second one did."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        _give_fake_weights(model)

    @cache
    def peak(rows: int, checkpointing: bool, half: bool, keep: bool) -> int:
        with fake:
            return _peak(model, lambda: trial(model, rows, length), checkpointing, half, keep)

    def passes(rows: int, *, checkpointing: bool, half: bool) -> Pass:
        found = []
        try:
            for keep in (False, True):
                one, two = (peak(count, checkpointing, half, keep) for count in (1, 2))
                found.append(one + (rows - 1) * (two - one))
        except Exception as error:  # whatever a model's own code makes of tensors without values
            return _guess(model, rows, error)
        return Pass(*found)

    return passes


def _guess(model: Any, rows: int, error: Exception) -> Pass:
    """Where a model looks at values: each row is taken to keep as much as all weights take."""
    name, why = type(model).__name__, str(error).partition("\n")[0]
    sys.stderr.write(f"a pass of {name} cannot be traced, its memory is guessed: {why}\n")
    weights = FLOAT32 * sum(weight.numel() for weight in model.parameters())
    trained = FLOAT32 * sum(w.numel() for w in model.parameters() if w.requires_grad)
    return Pass(rows * weights, rows * weights + trained)


def _peak(
    model: Any, trial: Callable[[], torch.Tensor], checkpointing: bool, half: bool, keep: bool
) -> int:
    """Most bytes at a time beside weights. ``keep``: gradients stay until the pass is over."""
    model.train()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        if checkpointing:
            model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        elif model.supports_gradient_checkpointing:
            model.gradient_checkpointing_disable()
    weights = list(model.parameters())
    hooks = [] if keep else [
        weight.register_post_accumulate_grad_hook(_forget)
        for weight in weights if weight.requires_grad
    ]  # fmt: skip
    gc.collect()
    lower = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with _Counting([*weights, *model.buffers()]) as count:
        with lower:
            loss = trial()
        loss.backward()
    del loss
    for hook in hooks:
        hook.remove()
    for weight in weights:
        weight.grad = None
    return count.peak


def _forget(weight: torch.Tensor) -> None:
    weight.grad = None


def _give_fake_weights(model: Any) -> None:
    """Weights of shapes alone, that operations believe to be on a CPU; shared ones stay shared."""
    known: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                if id(weight) not in known:
                    empty = torch.empty(weight.shape, dtype=weight.dtype)
                    known[id(weight)] = nn.Parameter(empty, requires_grad=weight.requires_grad)
                module._parameters[name] = known[id(weight)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                if id(buffer) not in known:
                    known[id(buffer)] = torch.empty(buffer.shape, dtype=buffer.dtype)
                module._buffers[name] = known[id(buffer)]


class _Counting(TorchDispatchMode):
    """Counts the storages that operations return while they live, but for those of ``weights``."""

    def __init__(self, weights: list[torch.Tensor]) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known = {weight.untyped_storage()._cdata for weight in weights}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.bytes -= size
