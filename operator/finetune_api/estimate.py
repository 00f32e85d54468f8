"""Memory of one rank by component, from the shape of the model. Pure arithmetic, in bytes.

Weights, gradients and optimizer states follow Rajbhandari et al. 2019 (arXiv:1910.02054, ZeRO);
activations follow Korthikanti et al. 2022 (arXiv:2205.05198) without recomputation, with the
attention matrix kept, as the CPU and masked-attention kernels do. Adam keeps two float32 moments.
"""

import math
from dataclasses import dataclass, fields

FLOAT32 = 4
ADAM_MOMENTS = 8
"""Bytes a trained weight: two float32 moments."""
REDUCE_BUCKET_ELEMENTS = 50_000_000
"""ZeRO's reduce bucket (the trainer sets it); never more than the trained weights."""
LIVE_ELEMENTS = 50_000_000
"""Weights that ZeRO-3 keeps gathered at a time (the trainer sets it), unless one alone is larger."""


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on. ``trainable`` counts adapter and head weights with LoRA."""

    parameters: int
    trainable: int
    layers: int
    hidden: int
    intermediate: int
    heads: int


@dataclass(frozen=True)
class Memory:
    """Bytes of one rank, by component."""

    weights: int
    gradients: int
    optimizer: int
    buffers: int
    activations: int

    @property
    def total(self) -> int:
        """All components together."""
        return sum(getattr(self, field.name) for field in fields(self))


def estimate(
    shape: ModelShape,
    *,
    micro_batch: int,
    length: int,
    world: int,
    zero_stage: int,
    compute_bytes: int = FLOAT32,
) -> Memory:
    """Memory of one rank.

    ``length`` in tokens, ``compute_bytes`` 4 for fp32 and 2 for bf16. ZeRO-2 shards gradients and
    optimizer states (with a float32 master copy of the trained weights) over ``world`` ranks; DDP
    keeps everything and a second copy of the gradients in its buckets.
    """
    trainable = shape.trainable
    if zero_stage >= 2:
        share = math.ceil(trainable / world)
        weights = shape.parameters * compute_bytes
        gradients = share * compute_bytes
        optimizer = share * (ADAM_MOMENTS + FLOAT32)
        buffers = 2 * min(trainable, REDUCE_BUCKET_ELEMENTS) * compute_bytes
    else:
        # Autocast keeps a half-precision copy of the weights beside the float32 ones.
        weights = shape.parameters * (FLOAT32 + (compute_bytes if compute_bytes < FLOAT32 else 0))
        gradients = trainable * FLOAT32
        optimizer = trainable * ADAM_MOMENTS
        buffers = trainable * FLOAT32 if world > 1 else 0
    return Memory(
        weights, gradients, optimizer, buffers,
        activations(shape, micro_batch=micro_batch, length=length, compute_bytes=compute_bytes),
    )  # fmt: skip


def activations(
    shape: ModelShape, *, micro_batch: int, length: int, compute_bytes: int = FLOAT32
) -> int:
    """Bytes kept for the backward pass of one micro-batch.

    A token of a layer keeps about 9 vectors of the hidden size, 3 of the intermediate size, and
    three rows of the attention matrix a head (scores, probabilities, dropped probabilities).
    """
    token = 9 * shape.hidden + 3 * shape.intermediate + 3 * shape.heads * length
    return micro_batch * length * shape.layers * token * compute_bytes


def checkpoint_bytes(shape: ModelShape, *, zero_stage: int) -> int:
    """Bytes of a checkpoint over all ranks: trained weights and moments, with ZeRO also the
    float32 master copy. Frozen weights are never saved; 1 MiB stands for the small files."""
    per_weight = FLOAT32 + ADAM_MOMENTS + (FLOAT32 if zero_stage >= 2 else 0)
    return shape.trainable * per_weight + 2**20
