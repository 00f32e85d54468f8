"""The status of a FineTuneJob: conditions are the truth, ``display`` is derived from them."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from finetune_api.base import Document
from finetune_api.progress import (
    Accounting,
    Artifacts,
    Attempt,
    BestStep,
    Checkpoint,
    DataSummary,
    EvaluationResult,
    MetricValue,
    Plan,
    Prepared,
)

Text = Annotated[str, Field(max_length=253)]


class ConditionType(StrEnum):
    """Types of conditions."""

    VALIDATED = "Validated"
    DATA_READY = "DataReady"
    PODS_READY = "PodsReady"
    TRAINING = "Training"
    CHECKPOINT_AVAILABLE = "CheckpointAvailable"
    EVALUATED = "Evaluated"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"


class Condition(Document):
    """One observation of the run's state, as in every Kubernetes API."""

    type: Annotated[str, Field(max_length=63)]
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=63)]
    """Category in one CamelCase word."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """One sentence for people: what, which object, numbers with units, next step."""
    last_transition_time: Annotated[str, Field(max_length=40)]
    """When the status last changed."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """Generation that this was observed for."""


class Display(Document):
    """What `kubectl get` shows; derived from the conditions, for people only."""

    status: Text = ""
    """One word."""
    progress: Text = "-"
    """Share and steps."""
    loss: Text = "-"
    """Last training loss."""
    eta: Text = "-"
    """Time left."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs asked for."""
    restarts: Annotated[int, Field(ge=0)] = 0
    """Attempts beyond the first."""
    model: Text = ""
    """Last part of the model's uri."""
    method: Text = ""
    """Method."""
    eval: Text = "-"
    """Base against tuned."""
    nodes: Annotated[int, Field(ge=0)] = 0
    """Nodes asked for."""
    checkpoint: Text = "-"
    """Newest verified checkpoint."""
    reason: Text = ""
    """Reason of the condition that decides the word."""


class Progress(Document):
    """Last numbers of the training loop, refreshed at most every 30 s."""

    stage: Text = ""
    """Where the run is."""
    step: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps done."""
    total_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps of the whole run."""
    epoch: Text = "0"
    """Passes over the training rows."""
    metrics: Annotated[list[MetricValue], Field(max_length=32)] = Field(default_factory=list)
    """Last metrics, values as text."""
    best: BestStep | None = None
    """The step whose weights the result has, where they are not the last ones."""
    last_report_time: Annotated[str, Field(max_length=40)] = ""
    """When the training loop last reported."""


class FineTuneJobStatus(Document):
    """What the operator observed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation that was last acted upon."""
    display: Display | None = None
    """What `kubectl get` shows."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = Field(default_factory=list)
    """The truth about the run, one entry a type."""
    prepared: Prepared | None = None
    """What prepare found out; the train Job is made from it."""
    plan: Plan | None = None
    """Choices resolved before the start, with reasons."""
    data: DataSummary | None = None
    """What prepare found in the data."""
    progress: Progress | None = None
    """Last numbers of the training loop."""
    attempts: Annotated[list[Attempt], Field(max_length=10)] = Field(default_factory=list)
    """The last ten attempts."""
    checkpoint: Checkpoint | None = None
    """The newest verified checkpoint."""
    evaluation: Annotated[list[EvaluationResult], Field(max_length=32)] = Field(
        default_factory=list
    )
    """Base against tuned model."""
    forgetting: Annotated[list[EvaluationResult], Field(max_length=32)] = Field(
        default_factory=list
    )
    """Base against tuned model on the general set."""
    artifacts: Artifacts | None = None
    """Where results are."""
    accounting: Accounting | None = None
    """What the run used."""
