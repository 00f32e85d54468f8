"""Memory of one rank by component, from the shape of the model. Pure arithmetic, in bytes.

Weights, gradients and optimizer states follow Rajbhandari et al. 2019 (arXiv:1910.02054, ZeRO);
activations follow Korthikanti et al. 2022 (arXiv:2205.05198) without recomputation, with the
attention matrix kept, as the CPU and masked-attention kernels do. Adam keeps two float32 moments.
"""

import math
from dataclasses import dataclass, fields

FLOAT32 = 4
STATE_BYTES = {
    "AdamW": 8.0, "AdamW8bit": 2.1, "AdEMAMix": 12.0, "Adafactor": 1.0, "Adagrad": 4.0,
    "Lion": 4.0, "RMSprop": 4.0, "SGD": 0.0,
}  # fmt: skip
"""Bytes of an optimizer's state a trained weight: float32 moments, or eight bits with their scales.
Adafactor keeps a row and a column of each matrix; 1 leaves room for narrow ones and vectors."""
REDUCE_BUCKET_ELEMENTS = 50_000_000
"""ZeRO's reduce bucket (the trainer sets it); never more than the trained weights."""
LIVE_ELEMENTS = 50_000_000
"""Weights that ZeRO-3 keeps gathered at a time (the trainer sets it); one alone may be larger."""
BROADCAST_BYTES = 250 * 2**20
"""DDP sends rank 0's weights to the others in copies of this size, once."""
BUCKETS = {0: 1, 1: 2, 2: 3, 3: 2}
"""Copies of the reduce bucket that stand beside each other, by ZeRO stage. Measured."""


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on. ``trainable`` counts adapter and head weights with LoRA; frozen
    weights of a base that is not saved as an adapter are ``saved_frozen``."""

    parameters: int
    trainable: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    scores: int = 0
    """Scores of each token: a language model's vocabulary; 0 for a classifier."""
    largest: int = 0
    """Weights of the largest matrix: mostly the embedding."""
    quantized: int = 0
    """Weights that are stored quantised."""
    quantized_bytes: float = 0.0
    """Bytes of each of them, scales included."""
    saved_frozen: int = 0
    """Frozen weights that a checkpoint holds all the same: those of a model that is partly
    trained."""
    kept: int = 0
    """Numbers that a position keeps for the backward pass, where they were counted: by a network
    of convolutions, whose layers differ in size."""

    def stored(self, compute_bytes: int) -> int:
        """Bytes of all weights as they are computed with."""
        plain = self.parameters - self.quantized
        return plain * compute_bytes + math.ceil(self.quantized * self.quantized_bytes)


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
    zero_stage: int | None,
    compute_bytes: int = FLOAT32,
    state_bytes: float = STATE_BYTES["AdamW"],
    checkpointing: bool = False,
) -> Memory:
    """Memory of one rank.

    ``state_bytes`` of the optimizer a trained weight; ``checkpointing`` of activations.

    ``length`` in tokens, ``compute_bytes`` 4 for fp32 and 2 for bf16, ``zero_stage`` None for DDP,
    which keeps everything and a second copy of the gradients in its buckets. ZeRO shards over
    ``world`` ranks: optimizer states, with a float32 master copy of the trained weights, from
    stage 1 on, gradients from 2 on, weights at 3, where a working set is gathered again, twice for
    a moment: as it was received and as layers use it.
    """
    trainable = shape.trainable
    if zero_stage is None:
        # Autocast keeps a half-precision copy of the weights beside the float32 ones.
        weights = shape.stored(FLOAT32 + (compute_bytes if compute_bytes < FLOAT32 else 0))
        gradients = trainable * FLOAT32
        optimizer = math.ceil(trainable * state_bytes)
        sent = min(shape.parameters * FLOAT32, BROADCAST_BYTES)
        buffers = max(trainable * FLOAT32, sent) if world > 1 else 0
    else:
        share = math.ceil(trainable / world)
        master = FLOAT32 if zero_stage > 0 or compute_bytes < FLOAT32 else 0
        weights = shape.stored(compute_bytes)
        gradients = (share if zero_stage >= 2 else trainable) * compute_bytes
        optimizer = math.ceil((share if zero_stage >= 1 else trainable) * (state_bytes + master))
        bucket = min(trainable, REDUCE_BUCKET_ELEMENTS)
        buffers = BUCKETS[zero_stage] * bucket * compute_bytes
        if zero_stage == 3:
            weights = math.ceil(shape.parameters / world) * compute_bytes
            buffers += 2 * gathered(shape) * compute_bytes
    return Memory(
        weights, gradients, optimizer, buffers,
        activations(
            shape, micro_batch=micro_batch, length=length, compute_bytes=compute_bytes,
            checkpointing=checkpointing,
        ),
    )  # fmt: skip


def gathered(shape: ModelShape) -> int:
    """Weights that ZeRO-3 has whole on a rank at most."""
    return min(shape.parameters, max(LIVE_ELEMENTS, shape.largest))


def loading(shape: ModelShape, *, world: int, zero_stage: int | None) -> int:
    """Host memory of one rank while the model is loaded: the whole of it in float32, and at ZeRO-3
    the share that it is being split into."""
    share = math.ceil(shape.parameters / world) if zero_stage == 3 else 0
    return (shape.parameters + share) * FLOAT32


def activations(
    shape: ModelShape,
    *,
    micro_batch: int,
    length: int,
    compute_bytes: int = FLOAT32,
    checkpointing: bool = False,
) -> int:
    """Bytes kept for the backward pass of one micro-batch.

    A token of a layer keeps about 9 vectors of the hidden size, 3 of the intermediate size, and
    three rows of the attention matrix a head (scores, probabilities, dropped probabilities). With
    ``checkpointing`` (Chen et al. 2016, arXiv:1604.06174) it keeps its input alone, and one layer
    at a time has the rest.
    """
    if shape.kept:
        return micro_batch * length * shape.kept * compute_bytes
    token = 9 * shape.hidden + 3 * shape.intermediate + 3 * shape.heads * length
    kept = shape.layers * shape.hidden + token if checkpointing else shape.layers * token
    return micro_batch * length * kept * compute_bytes


def checkpoint_bytes(
    shape: ModelShape,
    *,
    zero_stage: int | None,
    compute_bytes: int = FLOAT32,
    state_bytes: float = STATE_BYTES["AdamW"],
) -> int:
    """Bytes of a checkpoint over all ranks: moments of the trained weights and the weights, at ZeRO
    stages 1 and 2 both as computed with and as float32 master copy. The base of an adapter is never
    saved; 1 MiB stands for the small files."""
    weights = FLOAT32 + (compute_bytes if zero_stage in (1, 2) else 0)
    frozen = shape.saved_frozen * (compute_bytes if zero_stage is not None else FLOAT32)
    return math.ceil(shape.trainable * (weights + state_bytes)) + frozen + 2**20
