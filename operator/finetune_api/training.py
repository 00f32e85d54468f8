"""The training block of a FineTuneJob: hyperparameters.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from finetune_api import rules
from finetune_api.base import Document
from finetune_api.grpo import Grpo

Share = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(StrEnum):
    """How gradients become steps."""

    ADAMW = "AdamW"
    ADAMW_8BIT = "AdamW8bit"
    ADEMAMIX = "AdEMAMix"
    ADAFACTOR = "Adafactor"
    ADAGRAD = "Adagrad"
    LION = "Lion"
    RMSPROP = "RMSprop"
    SGD = "SGD"


class Scheduler(StrEnum):
    """The shape of the learning rate over the run."""

    COSINE = "Cosine"
    COSINE_WITH_FLOOR = "CosineWithFloor"
    COSINE_WITH_RESTARTS = "CosineWithRestarts"
    LINEAR = "Linear"
    POLYNOMIAL = "Polynomial"
    INVERSE_SQRT = "InverseSqrt"
    CONSTANT = "Constant"
    WARMUP_STABLE_DECAY = "WarmupStableDecay"


class Precision(StrEnum):
    """What ranks compute with."""

    AUTO = "Auto"
    FP32 = "FP32"
    BF16 = "BF16"


class NonFinite(StrEnum):
    """What follows when the loss is no number."""

    STOP = "Stop"
    ROLLBACK = "Rollback"


class EarlyStopping(Document):
    """What follows from the loss of the validation rows, measured at each checkpoint."""

    patience: Annotated[int, Field(ge=0, le=1000)] = 3
    """Training stops when it was no better this many times in a row; 0 goes on to the last step."""
    min_improvement: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """By how much the loss must fall to count as better."""
    restore_best: bool = True
    """The result has the weights that validated best, not the last ones."""


class Training(Document):
    """Hyperparameters."""

    epochs: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Passes over the training rows; 3 when neither this nor `maxSteps` is given."""
    max_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Optimizer steps. Excludes `epochs`."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    """Peak learning rate. Default by method: full and freeze 2e-5, LoRA and QLoRA 2e-4, head only,
    p-tuning and other PEFT methods 1e-3, IA3, prompt and prefix tuning 5e-3; a
    twentieth of it for objectives DPO, KTO and GRPO; shown in `status.plan`."""
    global_batch_size: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    """Rows per optimizer step over all ranks; 32 by default. Must be a multiple of the ranks.
    Loss and gradients depend on this alone, not on how ranks share it."""
    per_device_batch_size: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Rows a rank computes at once. Default: the largest that the memory plan allows; gradient
    accumulation fills the rest of the global batch."""
    optimizer: Optimizer = Optimizer.ADAMW
    """`AdamW` (Loshchilov & Hutter 2017); `AdamW8bit`, its moments in eight bits; `AdEMAMix`
    (arXiv:2409.03137), with a third moment; `Adafactor` (arXiv:1804.04235), with hardly any state,
    and `Adagrad`, both not with DeepSpeed's shards; `Lion` (arXiv:2302.06675), with one moment and
    a learning rate of a third or less; `RMSprop`; `SGD`, without state."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Decoupled weight decay, on matrices only, never on norms and biases."""
    l1: Annotated[float, Field(ge=0, le=1)] = 0.0
    """L1 regularisation of the trained matrices: after each step they move towards 0 by learning
    rate × this, and stop there (proximal step), so that weights become exactly 0."""
    l2sp: Annotated[float, Field(ge=0, le=10, alias="l2sp")] = 0.0
    """L2-SP regularisation (Li et al. 2018, arXiv:1802.01483): half of this × the squared distance
    of the trained weights to the base's is added to what is minimised, not to the loss that is
    told. For methods `full` and `freeze`; not with ZeRO-3."""
    label_smoothing: Share = 0.0
    """Share of the target that is spread over all classes (Szegedy et al. 2016), not for
    TextGeneration."""
    neftune_alpha: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Scale of the noise that is added to the embeddings in training (NEFTune, arXiv:2310.05914);
    5 is usual. Not for Summarization and Translation."""
    beta: Annotated[float, Field(gt=0, le=100)] | None = None
    """For objectives on preferences; 0.1 by default. `DPO`: the larger, the closer the model stays
    to its base. `KTO`: the larger, the sooner an answer counts as good or bad enough. `ORPO`: the
    weight of the odds ratio beside the chosen answer's loss."""
    grpo: Grpo | None = None
    """What objective GRPO writes, and what it is rewarded for. Required with it."""
    scheduler: Scheduler = Scheduler.COSINE
    """Shape of the learning rate after warm-up: `Cosine` falls to 0, `CosineWithFloor` to a tenth
    of the peak, `CosineWithRestarts` starts again in the middle, `Linear`, `Polynomial` (of degree
    2) and `InverseSqrt` fall as they say, `Constant` stays, `WarmupStableDecay` stays and falls to
    0 over the last tenth."""
    warmup_ratio: Share = 0.03
    """Share of the steps over which the learning rate rises from 0."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Gradients are scaled down to this norm."""
    precision: Precision = Precision.AUTO
    """`BF16` computes in bfloat16 and keeps float32 weights where they are trained; `FP32` in
    float32; `Auto` takes `BF16` on GPUs and `FP32` on CPUs, which know nothing else."""
    gradient_checkpointing: bool | None = None
    """Keep only the input of each layer and compute the rest again in the backward pass: a third
    more time, far less memory. Default: only when one row does not fit otherwise."""
    early_stopping: EarlyStopping = Field(default_factory=EarlyStopping)
    """When training stops before its last step, and which weights it ends with."""
    packing: bool = False
    """Lay the rows of a micro-batch end to end instead of padding them, for TextGeneration with
    `SFT` or `Pretrain` and methods without virtual tokens. Each row is still read as if alone:
    the model is tried on two rows first, and packing is left off (report/packing.json) where it
    would read across them. What is learnt is the same; whether it is faster is a matter of
    lengths: attention looks at all tokens of a micro-batch, and rows of similar length are put
    together anyway."""
    non_finite: NonFinite = NonFinite.STOP
    """What follows when the loss or the gradient is no number: `Stop` ends the run, `Rollback` goes
    back to the last checkpoint with half the learning rate, twice at most. Each counts as a failed
    attempt (`retries.maxAttempts`). Broken numbers are never saved."""
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 42
    """Seed of splits, row order, dropout and initialisation."""
    dropout: Share | None = None
    """Overrides the model's own dropout probabilities. Default: the model's configuration."""

    _rules = model_validator(mode="after")(rules.check("spec.training"))
