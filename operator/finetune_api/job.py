"""The FineTuneJob specification: every field a user can write, its bounds and its meaning.

Field docstrings become the CRD's descriptions and docs/api.md. Cross-field rules live in
``rules.py``. A default stands here only where it can never change; every other default is
resolved when the plan is made and shown in ``status.plan``.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from finetune_api import patterns, rules
from finetune_api.base import Document, Quantity, as_json
from finetune_api.checkpointing import Checkpointing
from finetune_api.dataset import Dataset
from finetune_api.learning import Objective, Task
from finetune_api.method import Method
from finetune_api.results import Evaluation, Output
from finetune_api.shapes import FolderUri, LabelKey, LabelValue, ObjectName, Word
from finetune_api.training import Training


class Strategy(StrEnum):
    """How ranks share the work."""

    AUTO = "Auto"
    DDP = "DDP"
    DEEPSPEED = "DeepSpeed"


class Addressing(StrEnum):
    """How a bucket is named in a request."""

    AUTO = "Auto"
    PATH = "Path"
    VIRTUAL = "Virtual"


class TolerationOperator(StrEnum):
    """How a toleration compares its key."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """The effect of a taint."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Model(Document):
    """The base model."""

    uri: FolderUri
    """Folder of the base model in Hugging Face layout (config.json, safetensors, tokenizer):
    `s3://bucket/prefix/`, `hf://org/name@revision/` of the Hugging Face hub (`main` without a
    revision; a commit never moves) or, where it is mounted, `file:///path/`. Ends with a slash."""
    secret_name: ObjectName | None = None
    """Secret with the `HF_TOKEN` of an account that may read the model and the data, for private
    and gated repositories of the hub."""
    chat_template: Annotated[str, StringConstraints(min_length=1, max_length=32768)] | None = None
    """Jinja template that turns messages into text, for TextGeneration on rows of messages.
    Default: the tokenizer's own. It is saved with the result."""


class PrepareResources(Document):
    """Resources of the prepare pod."""

    cpu: Quantity = "1"
    """CPU cores of the prepare pod."""
    memory: Quantity = "2Gi"
    """Memory of the prepare pod."""


class Resources(Document):
    """Nodes, GPUs and what each training pod asks for."""

    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Training pods, one a node."""
    gpus_per_node: Annotated[int, Field(ge=0, le=16)] = 1
    """GPUs of each pod; one rank a GPU. 0 trains on CPU with one rank a pod."""
    gpu_resource: Annotated[Word, patterns.RESOURCE_NAME] = "nvidia.com/gpu"
    """Name of the GPU resource."""
    cpu: Quantity | None = None
    """CPU cores of each pod. Default: from what prepare measured."""
    memory: Quantity | None = None
    """Memory of each pod. Default: from what prepare measured."""
    prepare: PrepareResources = Field(default_factory=PrepareResources)
    """Resources of the prepare pod, which never takes a GPU."""


class DeepSpeed(Document):
    """DeepSpeed settings."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """What ZeRO (Rajbhandari et al. 2019, arXiv:1910.02054) shards over the ranks: 0 nothing, 1 the
    optimizer states, 2 also the gradients, 3 also the weights. 3 fits the largest models and is the
    slowest: the ranks exchange the weights in every pass."""


class Distribution(Document):
    """How ranks share the work."""

    strategy: Strategy = Strategy.AUTO
    """`DDP` keeps everything on every rank; `DeepSpeed` shards by ZeRO; `Auto` takes DDP on one
    rank; on more, ZeRO-2, or ZeRO-3 when not even one row fits with ZeRO-2, and says why in
    `status.plan`."""
    deepspeed: DeepSpeed | None = None
    """DeepSpeed settings; with `strategy: DeepSpeed`, or with `Auto`, which then keeps to the stage
    given here when it takes DeepSpeed."""

    _rules = model_validator(mode="after")(rules.check("spec.distribution"))


class Storage(Document):
    """How the S3-compatible storage is reached."""

    secret_name: ObjectName | None = None
    """Secret with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if used,
    `AWS_SESSION_TOKEN`. Default: the site's; without one the pod's own identity."""
    endpoint: Annotated[str, StringConstraints(max_length=1024), patterns.ENDPOINT] | None = None
    """Address of an S3-compatible server. Default: the site's; without one the cloud's own."""
    ca_secret_name: ObjectName | None = None
    """Secret whose key `ca.crt` holds the certificates (PEM) that the server's own certificate is
    checked against, for servers of a private authority. Default: the site's; without one the
    authorities that the image trusts."""
    region: Word | None = None
    """Region that requests are signed for. Default: the site's, else `us-east-1`."""
    addressing: Addressing = Addressing.AUTO
    """`Path`: endpoint/bucket/key; `Virtual`: bucket.endpoint/key; `Auto`: `Path` when an endpoint
    is given."""


class Toleration(Document):
    """A taint that the training pods accept, as in a pod."""

    key: LabelKey | None = None
    """The taint's key; absent with `Exists` tolerates everything."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """`Exists` or `Equal`."""
    value: LabelValue | None = None
    """The taint's value, with `Equal`."""
    effect: TaintEffect | None = None
    """The taint's effect; absent matches every effect."""


def _without_null_values(value: Any) -> Any:
    """A label that is null counts as left out, as the API server sees it."""
    is_map = isinstance(value, dict)
    return {k: v for k, v in value.items() if v is not None} if is_map else value


NodeSelector = Annotated[
    dict[str, LabelValue], Field(max_length=32), BeforeValidator(_without_null_values)
]


class Scheduling(Document):
    """Where the training pods may run."""

    priority_class_name: ObjectName | None = None
    """PriorityClass of the training pods."""
    node_selector: NodeSelector | None = None
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints that the training pods accept."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of all pods of this job, for clouds that give identities to pods. Its token
    is not mounted unless named here."""

    _rules = model_validator(mode="after")(rules.check("spec.scheduling"))


class Retries(Document):
    """What is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 4
    """Attempts that may be spent by failures of the run itself. Preemption, suspension and lost
    nodes spend none."""


class FineTuneJobSpec(Document):
    """What to train, on what, how, and where results go."""

    task: Task
    """What the model learns to do: name a text's class, find the names or the answer to a question
    in a text, write an answer, summarise or translate a text."""
    objective: Objective | None = None
    """What TextGeneration learns from: `SFT`, the default, imitates the rows' answers; `Pretrain`
    goes on with pretraining on plain texts; `DPO` (arXiv:2305.18290) and `ORPO` (arXiv:2403.07691)
    learn to prefer the better of two answers; `KTO` (arXiv:2402.01306) learns from answers that
    were judged one by one; `Reward` makes a model that scores answers, from preferences;
    `GRPO` (arXiv:2402.03300) has the model answer and learns from what `training.grpo` rewards.
    Other tasks have none."""
    model: Model
    """The base model."""
    dataset: Dataset
    """Training, validation and test rows."""
    method: Method
    """How the weights change. Set exactly one."""
    training: Training = Field(default_factory=Training)
    """Hyperparameters."""
    resources: Resources = Field(default_factory=Resources)
    """Nodes, GPUs and what each pod asks for. Can change while suspended."""
    distribution: Distribution = Field(default_factory=Distribution)
    """How ranks share the work."""
    checkpointing: Checkpointing = Field(default_factory=Checkpointing)
    """When training state is saved, and what of it stays."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How base and tuned model are compared."""
    output: Output
    """Where results go."""
    storage: Storage = Field(default_factory=Storage)
    """How the S3-compatible storage is reached."""
    scheduling: Scheduling = Field(default_factory=Scheduling)
    """Where the training pods may run. Can change while suspended."""
    retries: Retries = Field(default_factory=Retries)
    """What is tried again. Can change while suspended."""
    suspend: bool = False
    """true: save a checkpoint, then release the GPUs; false again: go on from there."""

    _rules = model_validator(mode="after")(rules.check("spec"))


UNREAD = frozenset({"apiVersion", "kind", "status"})
UNREAD_METADATA = frozenset({
    "annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp",
    "finalizers", "generateName", "generation", "labels", "managedFields", "ownerReferences",
    "resourceVersion", "selfLink", "uid",
})  # fmt: skip
"""What Kubernetes knows in an object beside what the models read."""


class ObjectMeta(Document):
    """The part of the metadata that rules speak about."""

    name: str
    """Name of the job: at most 40 characters; pods' host names and the Service derive from it."""
    namespace: Word = "default"
    """Namespace."""

    _rules = model_validator(mode="after")(rules.check(""))


class FineTuneJob(Document):
    """A fine-tuning run: from a base model and a dataset to a tuned model and a report."""

    metadata: ObjectMeta
    """Name and namespace."""
    spec: FineTuneJobSpec
    """What to train, on what, how, and where results go."""

    @classmethod
    def from_manifest(cls, manifest: dict[str, object], *, strict: bool = True) -> Self:
        """Read a Kubernetes object. ``strict`` refuses unknown fields of the specification."""
        metadata = manifest.get("metadata")
        if isinstance(metadata, dict):
            metadata = {k: v for k, v in metadata.items() if k not in UNREAD_METADATA}
        rest = {k: v for k, v in manifest.items() if k not in UNREAD}
        text = json.dumps(as_json({**rest, "metadata": metadata}))
        extra: Literal["forbid", "ignore"] = "forbid" if strict else "ignore"
        return cls.model_validate_json(text, strict=True, extra=extra, by_name=False)
