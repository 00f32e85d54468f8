"""Children as Kubernetes describes them, turned into what policies read."""

from datetime import datetime
from typing import Any

from finetune_api import names
from finetune_api.base import KIND
from finetune_operator.cache import Manifest
from finetune_operator.kube import Resource
from finetune_operator.plan.snapshot import ChildJob, Finding, FindingKind, PodView
from finetune_operator.render.pod import INDEX_ANNOTATION
from finetune_operator.workqueue import Key


def child_name(child: str, job: str) -> str:
    """Name of a child object."""
    return {
        "prepare": names.prepare_job,
        "service": names.service,
        "train": names.train_job,
    }[child](job)


def is_controlled_by(manifest: Manifest, uid: str) -> bool:
    """Whether the object's controller is exactly this one: a name or a label is anybody's claim."""
    return controller(manifest).get("uid") == uid


def child_job(manifest: Manifest) -> ChildJob:
    """A Job as policies see it."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    conditions = _conditions(manifest)
    terminal = conditions.get("Complete") or conditions.get("Failed") or {}
    ended = terminal.get("lastTransitionTime")
    return ChildJob(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=seconds(metadata.get("creationTimestamp")) or 0.0,
        inputs_hash=annotations.get(names.ANNOTATION_INPUTS_HASH, ""),
        launch_hash=annotations.get(names.ANNOTATION_LAUNCH_HASH, ""),
        generation=int(annotations.get(names.ANNOTATION_GENERATION) or 0),
        wanted=int((manifest.get("spec") or {}).get("parallelism") or 1),
        is_deleting="deletionTimestamp" in metadata,
        is_complete="Complete" in conditions,
        is_failed="Failed" in conditions,
        reason=terminal.get("reason", ""),
        message=terminal.get("message", ""),
        finished_at=seconds(ended),
    )


def pod_view(manifest: Manifest) -> PodView:
    """A pod as policies see it."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    index = (metadata.get("annotations") or {}).get(INDEX_ANNOTATION, "0")
    statuses = status.get("containerStatuses") or []
    trainer: dict[str, Any] = next((c for c in statuses if c.get("name") == names.CONTAINER), {})
    ended = (trainer.get("state") or {}).get("terminated") or {}
    waiting = (trainer.get("state") or {}).get("waiting") or {}
    conditions = _conditions(manifest)
    scheduled = _condition(manifest, "PodScheduled")
    ready = _condition(manifest, "Ready")
    disruption = conditions.get("DisruptionTarget", {}).get("reason")
    is_unschedulable = scheduled.get("status") == "False"
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=seconds(metadata.get("creationTimestamp")) or 0.0,
        index=int(index) if index.isdigit() else 0,
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        image=next((c.get("image") or "" for c in spec.get("containers") or []), ""),
        is_started=bool({"running", "terminated"} & set(trainer.get("state") or {})),
        is_ready="Ready" in conditions,
        unready_since=seconds(ready.get("lastTransitionTime")) or 0.0,
        is_deleting="deletionTimestamp" in metadata,
        is_disrupted="DisruptionTarget" in conditions,
        is_given_up=disruption == "DeletionByTaintManager",
        exit_code=ended.get("exitCode"),
        exit_reason=ended.get("reason") or "",
        termination_message=ended.get("message") or "",
        finished_at=seconds(ended.get("finishedAt")),
        is_failed=status.get("phase") == "Failed",
        pod_message=status.get("message") or status.get("reason") or "",
        waiting_reason=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        asks=_asks(spec),
        unschedulable=(scheduled.get("message") or "") if is_unschedulable else "",
    )


def stranger(resource: Resource, manifest: Manifest, key: Key, now: float) -> Finding:
    """An object under a child's name that is not ours: somebody's, or of our own predecessor."""
    owner = controller(manifest)
    name = f"{resource.kind} {key.namespace}/{manifest['metadata']['name']}"
    if owner.get("kind") == KIND and owner.get("name") == key.name:
        message = "belongs to a deleted job of this name and is being removed"
        return Finding(FindingKind.LEFTOVER, name, message, now)
    whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "was not made by this job"
    return Finding(FindingKind.FOREIGN, name, whose, now)


def seconds(text: str | None) -> float | None:
    """A time of Kubernetes as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp() if text else None


def controller(manifest: Manifest) -> dict[str, Any]:
    owners = manifest["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def _asks(spec: dict[str, Any]) -> str:
    containers = spec.get("containers") or [{}]
    requests = ((containers[0].get("resources") or {}).get("requests") or {}).items()
    devices_first = sorted(requests, key=lambda item: (item[0] in ("cpu", "memory"), item[0]))
    return ", ".join(f"{amount} {resource}" for resource, amount in devices_first)


def _condition(manifest: Manifest, kind: str) -> dict[str, Any]:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind), {})


def _conditions(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Conditions that are True, by type."""
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return {c["type"]: c for c in conditions if c.get("status") == "True"}
