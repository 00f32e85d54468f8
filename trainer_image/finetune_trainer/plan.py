"""The plan: every choice resolved before the start, with its reason. Pure.

Loss and gradients depend on the global batch alone; how ranks, micro-batch and accumulation share
it is the planner's business.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from finetune_api import defaults
from finetune_api.base import quantity_value
from finetune_api.errors import OutOfMemoryError, UserError
from finetune_api.estimate import (
    FLOAT32,
    STATE_BYTES,
    ModelShape,
    Pass,
    Passes,
    checkpoint_bytes,
    estimate,
    loading,
)  # fmt: skip
from finetune_api.job import Strategy
from finetune_api.jobconfig import Device, JobConfig
from finetune_api.method_rules import WHOLE_METHODS
from finetune_api.progress import Plan
from finetune_api.rules import WHOLE_OPTIMIZERS
from finetune_api.training import Optimizer, Precision
from finetune_trainer.cadence import checkpoint_seconds

MI, GI = 2**20, 2**30
RANK_PROCESS_BYTES = {Device.CPU: 1024 * MI, Device.CUDA: 1536 * MI}
"""Host memory of a rank beside its model. Measured on CPU: 730 MiB of its own after training with
DeepSpeed, and 490 MiB of mapped libraries, of which the kernel can take back some."""
POD_BYTES = 320 * MI
"""Supervisor and storage agent."""
CPU_RANK_BUDGET = 4 * GI
GPU_BUDGET = 14 * GI
"""A 16 GiB card less its context and fragmentation; the card's size is unknown in prepare."""
SAVE_RATE = 50 * 10**6
"""Bytes a second that a checkpoint is assumed to reach the bucket with."""
GRACE_FACTOR = 3
LOCAL_CHECKPOINTS = 4
"""On a pod's disk at most: the one that is uploaded, or that the run goes on from, the two newest
of training, and the one that is being written."""
MASK_BYTES = 5
"""Of each pair of tokens of a packed micro-batch: the mask that keeps rows apart, as truth values
and as the float32 numbers that attention adds."""


@dataclass(frozen=True)
class Needs:
    """What a training pod asks for: Kubernetes quantities, seconds and bytes."""

    cpu: str
    memory: str
    shared_memory: str
    disk: str
    grace_seconds: int
    checkpoint_bytes: int


def make_plan(
    config: JobConfig,
    shape: ModelShape,
    passes: Passes,
    *,
    train_rows: int,
    max_length: int,
    max_length_reason: str,
    sequences: int = 1,
    can_checkpoint: bool = True,
    written: Mapping[str, Any] | None = None,
    pretend_gpus: bool = False,
) -> Plan:
    """The plan of a run; UserError when the global batch does not divide by the ranks. A row is
    ``sequences`` texts of ``max_length`` tokens. ``can_checkpoint``: the model can compute its
    layers again. ``written``: the manifest of the checkpoint that the run goes on from, whose
    optimizer states are split as its own plan split them."""
    spec, ranks = config.spec, config.world_size
    training = spec.training
    reasons = [f"maxLength {max_length}: {max_length_reason}"[:200]]
    cuda = config.device is Device.CUDA and not pretend_gpus
    half = cuda and training.precision is not Precision.FP32
    precision = "bf16" if half else "fp32"
    if half and training.precision is Precision.AUTO:
        reasons.append("precision bf16: GPUs from Ampere on; older ones compute in fp32")
    global_batch, per_rank = _batch(config)
    if written is not None and "globalBatch" in written:
        global_batch, per_rank = _batch_of(config, written)
    budget = _budget(config)

    checkpointing = bool(training.gradient_checkpointing)

    def need(stage: int | None, rows: int) -> int:
        one_pass = passes(rows * sequences, checkpointing=checkpointing, half=half)
        mask = MASK_BYTES * (rows * max_length) ** 2 if training.packing else 0
        return mask + rank_bytes(config, shape, stage, one_pass, 2 if half else FLOAT32)

    if written is not None:
        stage = _stage_of(config, written, precision, reasons)
    else:
        stage = _zero_stage(
            config, lambda stage: need(stage, _fewest_rows(config)), budget, reasons
        )
    checkpointable = can_checkpoint and _may_checkpoint(config)
    if need(stage, _fewest_rows(config)) > budget and checkpointable:
        checkpointing = True
        reasons.append("gradientCheckpointing: one row does not fit with all activations kept")
    micro = _micro_batch(config, stage, per_rank, budget, need, reasons)
    per_epoch = math.ceil(train_rows / global_batch)
    epochs = training.epochs if training.epochs is not None else defaults.EPOCHS
    steps = training.max_steps or max(1, math.ceil(epochs * train_rows / global_batch))
    every = spec.checkpointing.every_steps
    if every is None:
        every = max(1, math.ceil(steps / defaults.CHECKPOINTS_PER_RUN))
        reasons.append(f"a checkpoint every {every} steps: {defaults.CHECKPOINTS_PER_RUN} a run")
    saved = _saved_bytes(config, shape, stage, 2 if half else FLOAT32)
    seconds = checkpoint_seconds(
        saved, pods=config.pods, upload_rate=SAVE_RATE,
        minutes=spec.checkpointing.every_minutes,
        by_steps=spec.checkpointing.every_steps is not None, tell=reasons.append,
    )  # fmt: skip
    rate = training.learning_rate
    if rate is None:
        rate = defaults.learning_rate(spec.method, spec.objective)
        reasons.append(f"learning rate {rate:g}: the default of the method")
    return Plan(
        ranks=ranks,
        micro_batch=micro,
        accumulation=per_rank // micro,
        global_batch=global_batch,
        strategy=str(Strategy.DDP if stage is None else Strategy.DEEPSPEED),
        zero_stage=stage or 0,
        precision=precision,
        gradient_checkpointing=checkpointing,
        checkpointable=checkpointable,
        max_length=max_length,
        learning_rate=rate,
        steps=steps,
        steps_per_epoch=per_epoch,
        checkpoint_every=min(every, steps),
        checkpoint_seconds=seconds,
        memory_bytes=need(stage, micro),
        reasons=reasons,
    )


def check_batch(config: JobConfig) -> None:
    """UserError when the batch sizes cannot be met; known before any data is read."""
    _, per_rank = _batch(config)
    _check_asked(config, per_rank, _divisors(per_rank))


def _batch(config: JobConfig) -> tuple[int, int]:
    """Global batch and a rank's share of it."""
    ranks = config.world_size
    asked = config.spec.training.global_batch_size
    batch = asked or defaults.GLOBAL_BATCH
    if asked is None and batch % ranks:
        batch = ranks * math.ceil(batch / ranks)
    if batch % ranks:
        below = batch // ranks * ranks
        valid = [str(size) for size in (below, below + ranks) if size]
        raise UserError(
            f"training.globalBatchSize {batch} cannot be shared evenly by {ranks} ranks",
            f"set it to a multiple of {ranks}, for example {' or '.join(valid)}",
        )
    return batch, batch // ranks


def _batch_of(config: JobConfig, written: Mapping[str, Any]) -> tuple[int, int]:
    """The global batch of the run's checkpoints, and a rank's share of it."""
    ranks, batch = config.world_size, int(written["globalBatch"])
    if batch % ranks:
        valid = ", ".join(str(size) for size in _divisors(batch)[-8:])
        raise UserError(
            f"the run's checkpoints were made with {batch} rows a step, which {ranks} ranks cannot "
            "share evenly",
            f"set resources so that nodes × ranks of a node is one of {valid}",
        )
    return batch, batch // ranks


def _saved_bytes(
    config: JobConfig, shape: ModelShape, stage: int | None, compute_bytes: int
) -> int:
    """Size of a checkpoint over all ranks."""
    training = config.spec.training
    return checkpoint_bytes(
        shape, zero_stage=stage, compute_bytes=compute_bytes,
        state_bytes=STATE_BYTES[training.optimizer],
        with_best=training.early_stopping.restore_best,
    )  # fmt: skip


def rank_bytes(
    config: JobConfig, shape: ModelShape, stage: int | None, one_pass: Pass, compute_bytes: int
) -> int:
    """Memory that a rank's device needs; on CPU, where the model is also loaded, the larger of
    loading and training. ``stage`` None is DDP."""
    world = config.world_size
    training = estimate(
        shape, one_pass, world=world, zero_stage=stage, compute_bytes=compute_bytes,
        state_bytes=STATE_BYTES[config.spec.training.optimizer],
    ).total  # fmt: skip
    if config.spec.training.l2sp:
        training += shape.trainable * compute_bytes
    if config.device is Device.CUDA:
        return training
    return max(training, loading(shape, world=world, zero_stage=stage))


def _fewest_rows(config: JobConfig) -> int:
    return config.spec.training.per_device_batch_size or 1


def _zero_stage(
    config: JobConfig, need: Callable[[int], int], budget: float, reasons: list[str]
) -> int | None:
    """The ZeRO stage, None for DDP: what the job says, else the cheapest that fits.

    ``need`` gives the bytes of the fewest rows at a stage.
    """
    asked, ranks = config.spec.distribution, config.world_size
    if asked.strategy is Strategy.DDP:
        return None
    if config.spec.training.optimizer in WHOLE_OPTIMIZERS:
        reasons.append(f"strategy DDP: {config.spec.training.optimizer} needs whole weights")
        return None
    if asked.strategy is Strategy.AUTO and ranks == 1:
        reasons.append("strategy DDP: one rank has nothing to shard")
        return None
    if asked.deepspeed is not None:
        return asked.deepspeed.zero_stage
    stage = defaults.ZERO_STAGE
    if asked.strategy is Strategy.AUTO and need(stage) > budget and _may_split(config):
        reasons.append(
            f"strategy DeepSpeed ZeRO-3: weights are sharded, too: one pass takes "
            f"{need(stage) / GI:.2f} GiB a rank with ZeRO-{stage}, {budget / GI:.1f} GiB are there"
        )
        return 3
    if asked.strategy is Strategy.AUTO:
        reasons.append(
            f"strategy DeepSpeed ZeRO-{stage}: optimizer states and gradients are sharded over "
            f"{ranks} ranks"
        )
    return stage


def _stage_of(
    config: JobConfig, written: Mapping[str, Any], precision: str, reasons: list[str]
) -> int | None:
    """The ZeRO stage of a checkpoint; UserError when the job wants another."""
    asked = config.spec.distribution
    is_split = written.get("strategy") == Strategy.DEEPSPEED
    stage = int(written.get("zeroStage", 0)) if is_split else None
    name = f"DeepSpeed ZeRO-{stage}" if is_split else "DDP"
    refused = Strategy.DDP if is_split else Strategy.DEEPSPEED
    wanted = asked.deepspeed.zero_stage if asked.deepspeed is not None else stage
    if asked.strategy is refused or (is_split and wanted != stage):
        raise UserError(
            f"the checkpoint that the run goes on from was written with {name}, and distribution "
            "asks for something else",
            "leave distribution out, or begin anew",
        )
    if is_split and written.get("precision", precision) != precision:
        raise UserError(
            f"the checkpoint that the run goes on from was written with {name} in "
            f"{written['precision']}, and this plan computes in {precision}",
            "use the same kind of device and training.precision, or begin anew",
        )
    if (
        is_split
        and written.get("worldSize") != config.world_size
        and config.spec.training.optimizer is Optimizer.ADAMW_8BIT
    ):
        raise UserError(
            f"the states of AdamW8bit were split over {written.get('worldSize')} ranks in blocks, "
            f"which {config.world_size} ranks cannot share",
            "go on with as many ranks as wrote the checkpoint",
        )
    reasons.append(f"strategy {name}: that of the checkpoint that the run goes on from")
    return stage


def _may_split(config: JobConfig) -> bool:
    """Can ZeRO-3 train this method, with these hyperparameters?"""
    return config.spec.method.kind not in WHOLE_METHODS and not config.spec.training.l2sp


def _may_checkpoint(config: JobConfig) -> bool:
    """May the planner turn gradient checkpointing on by itself?"""
    spec = config.spec
    return spec.training.gradient_checkpointing is None and spec.method.prefix_tuning is None


def _micro_batch(
    config: JobConfig, stage: int | None, per_rank: int, budget: float,
    need: Callable[[int | None, int], int], reasons: list[str],
) -> int:  # fmt: skip
    """The largest divisor of a rank's share that fits; what was asked for goes first."""
    divisors = _divisors(per_rank)
    asked = _check_asked(config, per_rank, divisors)
    if asked is not None:
        return asked
    fitting = [size for size in divisors if need(stage, size) <= budget]
    if not fitting:
        shard = stage != 3 and config.world_size > 1 and need(3, 1) <= budget
        shard = shard and _may_split(config)
        raise OutOfMemoryError(
            f"one row at a time needs {need(stage, 1) / GI:.1f} GiB a rank and "
            f"{budget / GI:.1f} GiB are there",
            "set distribution.deepspeed.zeroStage to 3, which shards the weights" if shard
            else "give pods more memory, use method lora, or set a smaller dataset.maxLength",
        )  # fmt: skip
    best = fitting[-1]
    reasons.append(
        f"microBatch {best}: {need(stage, best) / GI:.2f} GiB a rank of {budget / GI:.1f} GiB"
    )
    return best


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def _check_asked(config: JobConfig, per_rank: int, divisors: list[int]) -> int | None:
    """The micro-batch that was asked for, if one was."""
    asked = config.spec.training.per_device_batch_size
    if asked is not None and per_rank % asked:
        raise UserError(
            f"training.perDeviceBatchSize {asked} does not divide a rank's share of the "
            f"global batch, {per_rank} rows",
            f"set it to one of {', '.join(map(str, divisors[-8:]))}",
        )
    return asked


def _budget(config: JobConfig) -> float:
    """Bytes a rank may take for its model: of the card, or of the memory asked for."""
    if config.device is Device.CUDA:
        return GPU_BUDGET
    asked = config.spec.resources.memory
    if asked is None:
        return CPU_RANK_BUDGET
    left = quantity_value(asked) - POD_BYTES
    return max(0.0, left / config.ranks_per_pod - RANK_PROCESS_BYTES[Device.CPU])


def make_needs(
    config: JobConfig, plan: Plan, shape: ModelShape, *, model_bytes: int, data_bytes: int
) -> Needs:
    """What each training pod asks for; what the job says goes first."""
    spec, resources = config.spec, config.spec.resources
    cuda = config.device is Device.CUDA
    stage = plan.zero_stage if plan.with_deepspeed else None
    host = plan.memory_bytes if not cuda else loading(shape, world=plan.ranks, zero_stage=None)
    rank = RANK_PROCESS_BYTES[config.device] + host
    memory = math.ceil((POD_BYTES + config.ranks_per_pod * rank) / (64 * MI)) * 64
    saved = _saved_bytes(config, shape, stage, 2 if plan.precision == "bf16" else FLOAT32)
    disk = math.ceil((model_bytes + data_bytes + LOCAL_CHECKPOINTS * saved + GI) / GI)
    grace = max(defaults.MIN_GRACE_SECONDS, math.ceil(GRACE_FACTOR * saved / SAVE_RATE))
    return Needs(
        cpu=resources.cpu or str(config.ranks_per_pod * (4 if cuda else 1)),
        memory=resources.memory or f"{memory}Mi",
        shared_memory="1Gi" if cuda else "64Mi",
        disk=f"{disk}Gi",
        grace_seconds=spec.checkpointing.grace_seconds or grace,
        checkpoint_bytes=saved,
    )
