"""What the trainer tells: one kind of document, served live, condensed at the end, kept as report.

Metrics are strings because NaN and infinity are not JSON. Readers ignore unknown fields of the
same major version and refuse another major.
"""

from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field

from finetune_api.base import Document
from finetune_api.exits import ExitClass, Failure
from finetune_api.job import Strategy

T = TypeVar("T", bound=Document)

PROGRESS_VERSION = "1.0"
PREPARED_LIMIT = 3000
"""Bytes of the prepare pod's termination message."""


class Stage(StrEnum):
    """Where a run is."""

    PREPARE = "prepare"
    WAITING = "waiting"
    SYNC = "sync"
    BASELINE = "baseline"
    TRAIN = "train"
    EVALUATE = "evaluate"
    EXPORT = "export"
    REPORT = "report"
    DONE = "done"


class MetricValue(Document):
    """A metric as text."""

    name: Annotated[str, Field(max_length=63)]
    """Name of the metric."""
    value: Annotated[str, Field(max_length=32)]
    """Value as text; may be `nan` or `inf`."""


class SeriesPoint(Document):
    """One point of a training curve."""

    step: int
    """Optimizer step."""
    loss: str
    """Training loss of this step."""
    eval_loss: str | None = None
    """Validation loss, on the steps where it was computed."""


class Checkpoint(Document):
    """The newest verified checkpoint."""

    step: Annotated[int, Field(ge=0)]
    """Optimizer step it was saved after."""
    uri: Annotated[str, Field(max_length=1200)]
    """Where it is."""
    bytes: Annotated[int, Field(ge=0)]
    """Size of all its files."""
    saved_at: Annotated[str, Field(max_length=40)]
    """When its manifest was written (RFC 3339)."""


class BestStep(Document):
    """The step whose weights the result has, where they are not the last ones."""

    step: Annotated[int, Field(ge=0)]
    """Optimizer step."""
    loss: Annotated[str, Field(max_length=32)]
    """Loss of the validation rows after it."""


class Attempt(Document):
    """One epoch of the gang: from its ranks' start to their end."""

    number: Annotated[int, Field(ge=1)]
    """Number of the attempt; never decreases."""
    start: Annotated[str, Field(max_length=40)]
    """When its ranks started (RFC 3339)."""
    end: Annotated[str, Field(max_length=40)] | None = None
    """When they ended."""
    reason: ExitClass | None = None
    """Why it ended."""
    from_step: Annotated[int, Field(ge=0)] = 0
    """Step it started from."""
    to_step: Annotated[int, Field(ge=0)] | None = None
    """Last step it reached."""
    message: Annotated[str, Field(max_length=500)] | None = None
    """What happened, in a sentence."""
    pod: Annotated[str, Field(max_length=253)] | None = None
    """The pod that ended it."""
    node: Annotated[str, Field(max_length=253)] | None = None
    """The node of that pod."""
    exit_code: int | None = None
    """Exit code of the process that ended it."""


class EvaluationResult(Document):
    """Base against tuned model on the same rows."""

    metric: Annotated[str, Field(max_length=63)]
    """Name of the metric."""
    base: Annotated[str, Field(max_length=32)]
    """Score of the base model; for a model without a head, of a linear probe on it."""
    tuned: Annotated[str, Field(max_length=32)]
    """Score of the tuned model."""
    interval: Annotated[str, Field(max_length=63)]
    """Bootstrap 95 % interval of tuned minus base."""
    rows: Annotated[int, Field(ge=0)]
    """Rows compared."""


class Artifacts(Document):
    """Where results are."""

    adapter: Annotated[str, Field(max_length=1200)] | None = None
    """Folder of the adapter."""
    model: Annotated[str, Field(max_length=1200)] | None = None
    """Folder of the full model."""
    merged: Annotated[str, Field(max_length=1200)] | None = None
    """Folder of base and adapter in one."""
    report: Annotated[str, Field(max_length=1200)] | None = None
    """The report."""


class Accounting(Document):
    """What the run used."""

    gpu_seconds: Annotated[int, Field(ge=0)] = 0
    """Seconds of ranks, summed (CPU ranks count as well when no GPU is asked for)."""
    wasted_gpu_seconds: Annotated[int, Field(ge=0)] = 0
    """Part of them spent on steps that had to be repeated."""


class DataSummary(Document):
    """What prepare found in the data."""

    rows: Annotated[int, Field(ge=0)]
    """Rows read."""
    train_rows: Annotated[int, Field(ge=0)]
    """Rows trained on."""
    validation_rows: Annotated[int, Field(ge=0)]
    """Rows watched during training."""
    test_rows: Annotated[int, Field(ge=0)]
    """Rows compared at the end."""
    dropped: dict[Annotated[str, Field(max_length=63)], int] = Field(
        default_factory=dict, max_length=32
    )
    """Rows left out, by reason."""
    truncated: Annotated[int, Field(ge=0)] = 0
    """Rows cut to maxLength."""
    tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens of the training rows."""
    learnt_tokens: Annotated[int, Field(ge=0)] | None = None
    """Those of them that are learnt, the answers'; absent where rows have a class instead."""
    length_p50: Annotated[int, Field(ge=0)] = 0
    """Median length in tokens."""
    length_p95: Annotated[int, Field(ge=0)] = 0
    """95th percentile of the length in tokens."""
    length_max: Annotated[int, Field(ge=0)] = 0
    """Longest row in tokens."""
    labels: Annotated[int, Field(ge=0)] = 0
    """Number of classes; 0 where rows have none."""
    report: Annotated[str, Field(max_length=1200)] = ""
    """Where the full data report is."""


class Plan(Document):
    """Choices resolved before the start, with their reasons."""

    ranks: Annotated[int, Field(ge=1)]
    """Ranks over all pods."""
    micro_batch: Annotated[int, Field(ge=1)]
    """Rows a rank computes at once."""
    accumulation: Annotated[int, Field(ge=1)]
    """Micro-batches summed into one optimizer step."""
    global_batch: Annotated[int, Field(ge=1)]
    """ranks × microBatch × accumulation."""
    strategy: Annotated[str, Field(max_length=32)]
    """`DDP` or `DeepSpeed`."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 0
    """ZeRO stage; 0 with DDP."""
    precision: Annotated[str, Field(max_length=16)]
    """Number format of the computation."""
    gradient_checkpointing: bool = False
    """Are activations computed again in the backward pass?"""
    checkpointable: bool = False
    """May they be, should memory run out with one row at once?"""
    max_length: Annotated[int, Field(ge=1)]
    """Longest row in tokens."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Peak learning rate."""
    steps: Annotated[int, Field(ge=1)]
    """Optimizer steps."""
    steps_per_epoch: Annotated[int, Field(ge=1)]
    """Optimizer steps of one pass over the training rows."""
    checkpoint_every: Annotated[int, Field(ge=1)]
    """Steps between checkpoints with a validation."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds of training after which a checkpoint is saved in between; absent: none is."""
    memory_bytes: Annotated[int, Field(ge=0)]
    """Estimated memory of a rank."""
    reasons: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=16)] = Field(
        default_factory=list
    )
    """Why each choice was made."""

    @property
    def with_deepspeed(self) -> bool:
        """Do the ranks run DeepSpeed? It has a stage 0, which shards nothing, as well."""
        return self.strategy == Strategy.DEEPSPEED


class Prepared(Document):
    """What prepare found out that the operator must know before it makes the train Job."""

    inputs_hash: Annotated[str, Field(max_length=64)]
    """Hash of what prepare looked at; another hash means prepare runs again."""
    fingerprint: Annotated[str, Field(max_length=64)]
    """Names the prepared data in the bucket: prepared/<fingerprint>/."""
    cpu: Annotated[str, Field(max_length=32)]
    """CPU of a training pod."""
    memory: Annotated[str, Field(max_length=32)]
    """Memory of a training pod."""
    shared_memory: Annotated[str, Field(max_length=32)]
    """Shared memory of a training pod."""
    disk: Annotated[str, Field(max_length=32)]
    """Local disk of a training pod."""
    grace_seconds: Annotated[int, Field(ge=1)]
    """Time a pod needs to save."""
    model_bytes: Annotated[int, Field(ge=0)]
    """Size of the base model."""
    checkpoint_bytes: Annotated[int, Field(ge=0)]
    """Size of a checkpoint."""


class PrepareResult(Document):
    """Termination message of a prepare pod that ended well (at most 3 KB)."""

    api_version: str = PROGRESS_VERSION
    """Version of this document."""
    prepared: Prepared
    """What the operator needs."""
    plan: Plan
    """Choices resolved before the start."""
    data: DataSummary
    """What was found in the data."""


class ProgressReport(Document):
    """Where a run is: served on /progress, condensed into the termination message, final as
    report.json."""

    api_version: str = PROGRESS_VERSION
    """Version of this document."""
    stage: Stage
    """Where the run is."""
    attempt: Annotated[int, Field(ge=0)] = 0
    """Number of the current attempt; 0 before the first."""
    pods_joined: Annotated[int, Field(ge=0)] = 0
    """Pods of the gang that have joined."""
    pods: Annotated[int, Field(ge=1)] = 1
    """Pods of the gang."""
    step: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps done."""
    total_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps of the whole run."""
    epoch: str = "0"
    """Passes over the training rows, as text."""
    metrics: list[MetricValue] = Field(default_factory=list)
    """Last metrics."""
    series: list[SeriesPoint] = Field(default_factory=list)
    """The training curve, at most 200 points."""
    heartbeat_age_seconds: float = 0
    """Seconds since any rank last moved."""
    reported_at: str = ""
    """When this report was made (RFC 3339)."""
    best: BestStep | None = None
    """What training ended with, where that are not the last step's weights."""
    checkpoint: Checkpoint | None = None
    """The newest verified checkpoint."""
    attempts: list[Attempt] = Field(default_factory=list)
    """The last ten attempts."""
    evaluation: list[EvaluationResult] = Field(default_factory=list)
    """Base against tuned."""
    forgetting: list[EvaluationResult] = Field(default_factory=list)
    """Base against tuned on the general set."""
    artifacts: Artifacts = Field(default_factory=Artifacts)
    """Where results are."""
    accounting: Accounting = Field(default_factory=Accounting)
    """What the run used."""
    failure: Failure | None = None
    """Why the run failed."""
    finished_at: Annotated[str, Field(max_length=40)] | None = None
    """When the run had been finished before this pod began, which therefore did nothing."""

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """Read a report of this major version; ValueError names another one."""
        return read_versioned(cls, document)


def read_versioned(model: type[T], document: dict[str, Any]) -> T:
    """Read a versioned document: unknown fields are ignored, another major version is refused."""
    version = str(document.get("apiVersion", ""))
    major = PROGRESS_VERSION.partition(".")[0]
    if version.partition(".")[0] != major:
        raise ValueError(f"{model.__name__} has version {version!r}; this program reads {major}.x")
    return model.model_validate(document, extra="ignore")
