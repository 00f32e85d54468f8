"""JobConfig: the one document that the trainer gets. Intent only; built here from a job.

The operator puts it into the pods' environment, the command line writes it to a file: the trainer
cannot tell them apart.
"""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field

from finetune_api.base import Document
from finetune_api.job import FineTuneJob, FineTuneJobSpec
from finetune_api.progress import read_versioned
from finetune_api.rules import IMMUTABLE

JOBCONFIG_VERSION = "1.0"
JOBCONFIG_LIMIT = 96 * 1024


class Device(StrEnum):
    """What the ranks compute on."""

    CPU = "cpu"
    CUDA = "cuda"


class JobConfig(Document):
    """What one run is to do."""

    api_version: str = JOBCONFIG_VERSION
    """Version of this document."""
    namespace: Annotated[str, Field(max_length=253)]
    """Namespace of the job."""
    name: Annotated[str, Field(max_length=253)]
    """Name of the job."""
    spec: FineTuneJobSpec
    """The job's specification."""
    device: Device
    """What the ranks compute on; CUDA asked for but absent is a user error."""
    ranks_per_pod: Annotated[int, Field(ge=1, le=16)]
    """Ranks in each pod."""
    pods: Annotated[int, Field(ge=1, le=1024)]
    """Pods of the gang."""
    inputs_hash: Annotated[str, Field(max_length=64)]
    """Hash of what prepare looks at."""
    identity_hash: Annotated[str, Field(max_length=64)]
    """Hash of the immutable fields: names the run in run.json."""
    fingerprint: Annotated[str, Field(max_length=64)] | None = None
    """Which prepared data to train on; absent in the prepare pod's configuration."""

    @property
    def world_size(self) -> int:
        """Ranks over all pods."""
        return self.pods * self.ranks_per_pod

    def to_env(self) -> str:
        """The document as one environment value. Kubernetes expands `$(X)`, so `$` is escaped."""
        text = json.dumps(self.to_wire(), sort_keys=True, separators=(",", ":"))
        return text.replace("$", "\\u0024")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a configuration of this major version."""
        return read_versioned(cls, json.loads(text))


def _hash(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def identity_hash(spec: FineTuneJobSpec) -> str:
    """Hash of the fields that define the run. How the storage is reached is not one of them: a
    site may move its server under a running job."""
    wire = spec.to_wire()
    return _hash({name: wire[name] for name in IMMUTABLE if name in wire and name != "storage"})


def inputs_hash(spec: FineTuneJobSpec) -> str:
    """Hash of everything prepare's result depends on: the identity and the shape of the gang."""
    return _hash([identity_hash(spec), spec.resources.to_wire()])


def launch_hash(spec: FineTuneJobSpec) -> str:
    """Hash of what the train Job is made from; never of how it is rendered, so that an upgrade of
    the operator disturbs no running job."""
    wire = spec.to_wire()
    return _hash([identity_hash(spec), wire["resources"], wire["scheduling"], wire["retries"]])


def build(job: FineTuneJob, *, fingerprint: str | None = None) -> JobConfig:
    """The configuration of a job; with ``fingerprint`` that of its training pods."""
    resources = job.spec.resources
    return JobConfig(
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        spec=job.spec,
        device=Device.CUDA if resources.gpus_per_node else Device.CPU,
        ranks_per_pod=max(1, resources.gpus_per_node),
        pods=resources.nodes,
        inputs_hash=inputs_hash(job.spec),
        identity_hash=identity_hash(job.spec),
        fingerprint=fingerprint,
    )
