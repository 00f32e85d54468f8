"""What one pass knows about the cluster: a frozen picture, made by ``observe``, read by policies.

Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from finetune_api.progress import ProgressReport


class FindingKind(StrEnum):
    """Why a child could not be created."""

    FOREIGN = "foreign"
    LEFTOVER = "leftover"
    REFUSED = "refused"


@dataclass(frozen=True)
class Finding:
    """Something that keeps a child from being created, found at creation or in the cache."""

    kind: FindingKind
    object: str
    """Kind and name of the object: `Job team/x-train`."""
    message: str
    """Who owns it, or what the API server said."""
    at: float


@dataclass(frozen=True)
class ChildJob:
    """A Job of ours."""

    name: str
    uid: str
    created_at: float
    inputs_hash: str = ""
    launch_hash: str = ""
    generation: int = 0
    """Generation of the FineTuneJob that it was rendered from."""
    wanted: int = 1
    """Pods it is to have."""
    is_deleting: bool = False
    is_complete: bool = False
    is_failed: bool = False
    reason: str = ""
    """Reason of the terminal condition."""
    message: str = ""
    """Message of the terminal condition."""
    finished_at: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the Job has reached its terminal condition."""
        return self.is_complete or self.is_failed


@dataclass(frozen=True)
class PodView:
    """A pod of one of our Jobs."""

    name: str
    uid: str
    created_at: float
    index: int = 0
    node: str = ""
    ip: str = ""
    image: str = ""
    is_started: bool = False
    """Whether the trainer has been running."""
    is_ready: bool = False
    is_deleting: bool = False
    is_disrupted: bool = False
    is_given_up: bool = False
    """Kubernetes takes it off a node that does not answer; only the node can say that it ended."""
    unready_since: float = 0.0
    exit_code: int | None = None
    """Exit code of the trainer, once it has ended."""
    exit_reason: str = ""
    """What the kubelet calls the end: `OOMKilled`, `Error`."""
    termination_message: str = ""
    finished_at: float | None = None
    is_failed: bool = False
    """The pod's phase is Failed (also without a container ever having run: an eviction)."""
    pod_message: str = ""
    """Why the pod as a whole failed, in the kubelet's words."""
    waiting_reason: str = ""
    waiting_message: str = ""
    asks: str = ""
    """What it asks of a node: `1 nvidia.com/gpu, 4 cpu, 16Gi memory`."""
    unschedulable: str = ""
    """Why the scheduler finds no node, in its own words."""

    @property
    def has_ended(self) -> bool:
        """Whether the trainer in it will not run again."""
        return self.exit_code is not None or self.is_failed

    @property
    def is_well(self) -> bool:
        """Ready, or ended as it should."""
        return self.exit_code == 0 or (
            self.is_ready and not self.is_deleting and not self.is_failed
        )


@dataclass(frozen=True)
class Warning:
    """A warning event about one of our children."""

    object: str
    """Name of the Job or pod."""
    reason: str
    message: str
    at: float = 0.0


@dataclass(frozen=True)
class Observed:
    """Everything a pass knows beside specification and status."""

    generation: int
    is_deleting: bool = False
    namespace_is_dying: bool = False
    prepare: ChildJob | None = None
    train: ChildJob | None = None
    has_service: bool = False
    prepare_pods: tuple[PodView, ...] = ()
    train_pods: tuple[PodView, ...] = ()
    progress: ProgressReport | None = None
    """The last report of the present gang; None when there is none or it can't be reached."""
    warnings: tuple[Warning, ...] = ()
    findings: Mapping[str, Finding] = field(default_factory=dict)
    """By child: `prepare`, `service`, `train`."""
    refreshed_at: float | None = None
    """When this process last wrote the status."""
