"""What a site decides about the operator. Read once from flags in ``__main__``, then frozen.

A duration is in seconds. Everything that is decided per job lives in the job instead.
"""

from dataclasses import dataclass, field

from finetune_api.job import Storage
from finetune_operator.workqueue import Key


@dataclass(frozen=True)
class Settings:
    """Settings of one operator process."""

    namespaces: tuple[str, ...] = ()
    """Namespaces that are served. Empty: all of them, which needs cluster-wide rights."""

    trainer_image_cpu: str = "finetune-trainer:cpu"
    """Image of prepare pods, and of training pods without GPUs."""

    trainer_image_cuda: str = "finetune-trainer:cuda"
    """Image of training pods with GPUs."""

    storage: Storage = field(default_factory=Storage)
    """What fills a job's `spec.storage` where the job leaves it out: endpoint, region, Secrets."""

    image_pull_policy: str = "IfNotPresent"
    """When nodes pull those images: `Always`, `IfNotPresent` or `Never`."""

    http_host: str = "0.0.0.0"  # noqa: S104  (a pod is probed and scraped on its own address)
    """Address that /metrics, /healthz and /readyz are served on."""

    http_port: int = 8080
    """Port of that server. 0 takes a free one."""

    lease: Key | None = None
    """The Lease that operators of the same jobs share. None: this one is alone."""

    workers: int = 12
    """Jobs that are reconciled at the same time. More did not help: the API server is the limit."""

    progress_interval: float = 10.0
    """Time between two looks at a run's progress."""

    status_interval: float = 30.0
    """Least time between two status writes that only refresh numbers. A change of state is written
    at once."""

    sweep_interval: float = 300.0
    """Time between two comparisons of what the watches have shown with what is there. It bounds how
    long a missed deletion stays unseen."""

    patience: float = 10.0
    """How long pods may be missing, pending or not ready before the status says why. Shorter shows
    every ordinary start as a problem; longer hides real ones."""

    stall_seconds: float = 600.0
    """A run whose ranks have not moved for this long is shown as stalled. It is only shown: ending
    it is the supervisor's decision, who sees the ranks."""

    message_grace: float = 10.0
    """How long a finished Job may wait for its pod's last message to appear in the watch before
    the message counts as lost."""

    unreachable_toleration: int = 60
    """How long a pod stays on a node that is not ready before Kubernetes evicts it. The default of
    Kubernetes is 300; a gang waits for its slowest member, so ours is shorter."""
