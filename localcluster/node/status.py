"""The status of a pod as a kubelet words it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from localcluster.node.container import Container
from localcluster.node.events import timestamp
from localcluster.node.runner import Ended

TERMINAL = ("Succeeded", "Failed")


@dataclass
class Conditions:
    """Remembers since when each condition has its value."""

    since: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def known(cls, pod: dict[str, Any]) -> "Conditions":
        """What an earlier node program has reported."""
        found = pod.get("status", {}).get("conditions", [])
        return cls({c["type"]: (c["status"], c.get("lastTransitionTime", "")) for c in found})

    def holds(self, kind: str) -> bool:
        """Whether a condition is true."""
        return self.since.get(kind, ("", ""))[0] == "True"

    def set(self, kind: str, value: bool, now: str, reason: str = "") -> dict[str, str]:
        """A condition; its transition time changes only with its value."""
        text = "True" if value else "False"
        known, transition = self.since.get(kind, ("", ""))
        if known != text:
            transition = now
            self.since[kind] = (text, now)
        result = {"type": kind, "status": text, "lastTransitionTime": transition}
        return result | ({"reason": reason} if reason else {})


def is_sidecar(container: dict[str, Any]) -> bool:
    """Whether an init container stays beside the others."""
    return container.get("restartPolicy") == "Always"


def phase(mains: Sequence[Container], *, initialized: bool, finished: bool, doomed: bool) -> str:
    """Where the pod is in its life. A pod counts as finished when nothing of it runs any more."""
    if finished:
        done = initialized and all(c.ended and c.ended.exit_code == 0 for c in mains)
        return "Succeeded" if done and not doomed else "Failed"
    begun = any(c.run or c.ended or c.previous for c in mains)
    return "Running" if begun else "Pending"


def conditions(
    memory: Conditions,
    inits: Sequence[Container],
    mains: Sequence[Container],
    *,
    sandbox: bool,
    initialized: bool,
    phase: str,
    now: str,
) -> list[dict[str, str]]:
    """The conditions that a kubelet owns."""
    sidecars = [c for c in inits if is_sidecar(c.spec)]
    finished = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    ready = not finished and initialized and all(c.ready for c in [*mains, *sidecars])
    reason = "" if ready else finished or "ContainersNotReady"
    unready = "" if initialized else finished or "ContainersNotInitialized"
    return [
        memory.set("PodReadyToStartContainers", sandbox and not finished, now),
        memory.set("Initialized", initialized, now, unready),
        memory.set("Ready", ready, now, reason),
        memory.set("ContainersReady", ready, now, reason),
        memory.set("PodScheduled", True, now),
    ]


def container_status(container: Container, uid: str, *, init: bool) -> dict[str, Any]:
    """An entry of containerStatuses or initContainerStatuses; a completed init is ready."""
    identity = f"process://{uid}-{container.name}-{container.attempt}"
    known = container.run or container.ended
    completed = container.ended is not None and container.ended.exit_code == 0
    status: dict[str, Any] = {
        "name": container.name,
        "image": container.spec["image"],
        "imageID": container.spec["image"] if known else "",
        "restartCount": container.attempt,
        "ready": container.ready or (init and completed),
        "started": container.run is not None and container.has_started.is_set(),
        "state": _state(container, identity),
        "lastState": {},
    }
    if known:
        status["containerID"] = identity
    if container.previous is not None:
        status["lastState"] = {"terminated": _terminated(container.previous, identity)}
    return status


def _state(container: Container, identity: str) -> dict[str, Any]:
    if container.run is not None:
        return {"running": {"startedAt": timestamp(container.run.started_at)}}
    if container.ended is not None:
        return {"terminated": _terminated(container.ended, identity)}
    reason, message = container.waiting
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def _terminated(ended: Ended, identity: str) -> dict[str, Any]:
    result = {
        "exitCode": ended.exit_code,
        "reason": ended.reason or ("Error" if ended.exit_code else "Completed"),
        "startedAt": timestamp(ended.started_at) if ended.started_at else None,
        "finishedAt": timestamp(ended.finished_at),
        "containerID": identity,
    }
    return result | ({"message": ended.message} if ended.message else {})
