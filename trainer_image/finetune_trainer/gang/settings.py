"""Who this pod is, and every time constant of the gang, in one place."""

import os
import shlex
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from finetune_api import names
from finetune_api.errors import UserError

ENV_RANK_COMMAND = "FINETUNE_RANK_COMMAND"
ENV_TIMING = "FINETUNE_TIMING_"


@dataclass(frozen=True)
class Timing:
    """Seconds. Each can be set by `FINETUNE_TIMING_<NAME>` for trials and tests."""

    heartbeat: float = 1.0
    """Between two messages of supervisors."""
    lost_after: float = 15.0
    """Silence after which a supervisor counts as lost."""
    join: float = 1800.0
    """Wait for all pods of the gang, or for index 0."""
    collect: float = 1.5
    """After a first failure: wait for others, to tell cause from consequence."""
    terminate: float = 2.0
    """From SIGTERM to SIGKILL of ranks whose epoch is over: their state is in checkpoints."""
    stop: float = 15.0
    """Until a pod has said that its ranks are stopped."""
    drain: float = 120.0
    """Wait for running uploads before an epoch goes on from what is durable."""
    grace: float = 60.0
    """From SIGTERM to leaving."""
    grace_margin: float = 3.0
    """Kept of the grace time for the last words."""
    stall_first: float = 1800.0
    """Until a rank's first sign of life: imports, model load, compile."""
    stall_minimum: float = 300.0
    """Shortest silence of a moving rank that counts as a stall."""
    storage_limit: float = 1800.0
    """Uploads failing for longer than this end the run."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The defaults, with what the environment sets."""
        values = {
            f.name: float(environ[ENV_TIMING + f.name.upper()])
            for f in fields(cls)
            if ENV_TIMING + f.name.upper() in environ
        }
        if names.ENV_GRACE in environ:
            values["grace"] = float(environ[names.ENV_GRACE])
        return cls(**values)


@dataclass(frozen=True)
class Identity:
    """This pod within its gang."""

    index: int
    hosts: tuple[str, ...]
    token: str
    ip: str
    pod: str
    node: str
    uid: str
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of this supervisor process; a new one under the same index replaces the old."""

    @property
    def leads(self) -> bool:
        """Whether this pod leads the gang."""
        return self.index == 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str], pods: int) -> Self:
        """Read the identity; a lone pod on a laptop needs none of it."""
        index = int(environ.get(names.ENV_POD_INDEX) or 0)
        ip = environ.get(names.ENV_POD_IP) or "127.0.0.1"
        hosts = tuple(h for h in environ.get(names.ENV_GANG_HOSTS, "").split(",") if h) or (ip,)
        if len(hosts) != pods or index >= pods:
            raise UserError(
                f"{names.ENV_GANG_HOSTS} names {len(hosts)} hosts, the job has {pods} pods and "
                f"this is index {index}",
                "make the train Job anew",
            )
        return cls(
            index=index,
            hosts=hosts,
            token=environ.get(names.ENV_GANG_TOKEN, ""),
            ip=ip,
            pod=environ.get(names.ENV_POD_NAME) or f"pod-{index}",
            node=environ.get(names.ENV_NODE_NAME) or os.uname().nodename,
            uid=environ.get(names.ENV_POD_UID) or "",
        )


def rank_command(environ: Mapping[str, str]) -> list[str]:
    """How a rank is started."""
    given = environ.get(ENV_RANK_COMMAND)
    return shlex.split(given) if given else [sys.executable, "-m", "finetune_trainer", "rank"]
