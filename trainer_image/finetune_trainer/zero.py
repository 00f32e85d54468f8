"""ZeRO on DeepSpeed: its settings by stage, and the weights that stage 3 splits over the ranks.

A model is loaded whole into host memory at every stage, so that all stages start from the same
weights. Stage 3 then splits it weight by weight onto the devices; layers are gathered as a pass
reaches them, so every rank must make the same number of passes.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from finetune_api.estimate import LIVE_ELEMENTS, REDUCE_BUCKET_ELEMENTS
from finetune_trainer.session import Session

WHOLE_WEIGHTS_END = 3
"""The first stage that splits the weights themselves."""
ALIGNMENT = 64
"""Buckets are a multiple of it: DeepSpeed wants even ones."""


def splits(session: Session) -> bool:
    """Does this run split weights over the ranks?"""
    return session.plan.zero_stage >= WHOLE_WEIGHTS_END


def settings(session: Session, model: Any) -> dict[str, Any]:
    """DeepSpeed's configuration: torch's own AdamW, nothing that needs a compiler."""
    plan = session.plan
    trained = sum(math.prod(shape(w)) for w in model.parameters() if w.requires_grad)
    bucket = min(ALIGNMENT * math.ceil(max(trained, 1) / ALIGNMENT), REDUCE_BUCKET_ELEMENTS)
    zero = {
        "stage": plan.zero_stage,
        "contiguous_gradients": True,
        "overlap_comm": session.gang.device.type == "cuda",
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
    }
    if splits(session):
        zero |= {
            "stage3_max_live_parameters": LIVE_ELEMENTS,
            "stage3_max_reuse_distance": LIVE_ELEMENTS,
            "stage3_prefetch_bucket_size": LIVE_ELEMENTS // 2,
            "stage3_param_persistence_threshold": _longest_vector(model),
            "stage3_gather_16bit_weights_on_model_save": False,
        }
    return {
        "train_batch_size": plan.global_batch,
        "train_micro_batch_size_per_gpu": plan.micro_batch,
        "gradient_accumulation_steps": plan.accumulation,
        "gradient_clipping": session.job.spec.training.max_grad_norm,
        "bf16": {"enabled": session.autocast},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def shape(weight: torch.Tensor) -> tuple[int, ...]:
    """The shape of the whole weight, split or not."""
    return tuple(getattr(weight, "ds_shape", weight.shape))


def _longest_vector(model: Any) -> int:
    """Biases and norms stay whole on every rank: gathering them costs more than they take."""
    vectors = [shape(weight)[0] for weight in model.parameters() if len(shape(weight)) == 1]
    return max(vectors, default=0)


def place(session: Session, model: Any) -> None:
    """A whole model goes onto the device; one to be split stays in host memory until it is, and a
    quantised one was loaded there."""
    if not splits(session) and not getattr(model, "is_quantized", False):
        model.to(session.gang.device)


def split(session: Session, model: Any) -> None:
    """Stage 3: leave each rank its share of every weight of ``model``, one weight at a time."""
    if not splits(session):
        return
    import deepspeed

    config = settings(session, model)
    for weight in model.parameters():
        weight.data = weight.data.to(_precision(session))
    for buffer in model.buffers():
        buffer.data = buffer.data.to(session.gang.device)
    deepspeed.zero.Init(module=model, config_dict_or_path=config)


@contextmanager
def for_passes(session: Session, model: Any) -> Iterator[Any]:
    """``model`` ready for forward passes before training; it is the same afterwards.

    Stage 3 makes them on a split twin: a model that is too large for a device must not have to fit
    for its baseline.
    """
    if not splits(session):
        yield model
        return
    import deepspeed

    twin = _twin(model)
    config = settings(session, twin)
    split(session, twin)
    engine, *_ = deepspeed.initialize(model=twin, config=config)
    try:
        yield engine.module
    finally:
        engine.destroy()


@contextmanager
def whole(tensor: torch.Tensor, session: Session, *, changes: bool = False) -> Iterator[None]:
    """A weight or buffer, put together where stage 3 has split it. Every rank must enter it.
    ``changes``: rank 0 writes to it, and the others get what it wrote."""
    if not splits(session):
        yield
    elif hasattr(tensor, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([tensor], modifier_rank=0 if changes else None):
            yield
    else:
        yield
        if changes:
            torch.distributed.broadcast(tensor, 0)


def whole_state(session: Session, model: Any, *, trained: bool) -> dict[str, Any] | None:
    """Stage 3: the weights of ``model`` put together from all ranks, on rank 0 and in host memory.

    ``trained``: no frozen weights. Every rank must call it; None where ``model`` itself has
    them, and on other ranks.
    """
    if not splits(session):
        return None
    state: dict[str, Any] = {}
    known: dict[int, torch.Tensor] = {}
    for name, weight in model.state_dict(keep_vars=True).items():
        if trained and isinstance(weight, nn.Parameter) and not weight.requires_grad:
            continue
        if id(weight) not in known:
            with whole(weight, session):
                kept = weight if session.gang.is_main else weight.flatten()[:0]
                known[id(weight)] = kept.detach().cpu().clone()
        state[name] = known[id(weight)]
    return state if session.gang.is_main else None


def _twin(model: Any) -> Any:
    """A second model over the same memory; splitting it leaves the first one whole."""
    weights: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, weights)


def _precision(session: Session) -> torch.dtype:
    return torch.bfloat16 if session.autocast else torch.float32
