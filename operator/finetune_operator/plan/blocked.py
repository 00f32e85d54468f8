"""Why pods do not come up: said in one sentence, from what Kubernetes itself says."""

from typing import NamedTuple

from finetune_operator.plan.snapshot import ChildJob, Finding, FindingKind, PodView, Warning

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


class Blocker(NamedTuple):
    """What holds the pods of a Job back."""

    reason: str
    message: str


def blocker(
    child: ChildJob, pods: tuple[PodView, ...], warnings: tuple[Warning, ...]
) -> Blocker | None:
    """The first thing that keeps pods from running; None when nothing is known to."""
    waiting = [p for p in pods if not p.has_ended and not p.is_deleting and not p.is_ready]
    for pod in waiting:
        if pod.waiting_reason in IMAGE_REASONS:
            return Blocker(
                "ImagePullFailed",
                f"image {pod.image} of pod {pod.name} cannot be pulled: "
                f"{pod.waiting_message or pod.waiting_reason}",
            )
        if pod.waiting_reason in CONFIG_REASONS:
            return Blocker(_config_reason(pod.waiting_message), _of(pod, pod.waiting_message))
    names = {pod.name: pod for pod in waiting}
    for warning in warnings:
        if warning.reason == "FailedMount" and warning.object in names:
            message = warning.message
            return Blocker(_config_reason(message), _of(names[warning.object], message))
    for pod in waiting:
        if pod.unschedulable:
            return Blocker("Unschedulable", f"pod {pod.name} pending: {pod.unschedulable}")
    for warning in warnings:
        if warning.reason == "FailedCreate" and warning.object == child.name:
            message = f"pods of Job {child.name} are refused: {warning.message}"
            return Blocker(_refusal_reason(warning.message), message)
    return None


def needs_events(child: ChildJob, pods: tuple[PodView, ...]) -> list[str]:
    """Uids of the children whose warning events must be read, because their state does not say why
    they stand still: a Job with too few pods, a pod that has a node but does not start."""
    if child.is_finished or child.is_deleting:
        return []
    living = [pod for pod in pods if not pod.has_ended]
    silent = [pod.uid for pod in living if pod.node and not pod.is_started]
    return silent + ([child.uid] if len(living) < child.wanted else [])


def creation(finding: Finding) -> Blocker:
    """What keeps a child from being created."""
    if finding.kind is FindingKind.FOREIGN:
        return Blocker(
            "ChildConflict",
            f"{finding.object} exists and {finding.message}; it is left alone: "
            "delete it, or create this job under another name",
        )
    if finding.kind is FindingKind.LEFTOVER:
        return Blocker("WaitingForCleanup", f"{finding.object} {finding.message}")
    return Blocker("CreateRejected", f"{finding.object} was refused: {finding.message}")


def _config_reason(message: str) -> str:
    return "MissingSecret" if "secret" in message.lower() else "ContainerConfig"


def _refusal_reason(message: str) -> str:
    if "exceeded quota" in message:
        return "QuotaExceeded"
    if "PodSecurity" in message:
        return "PodSecurity"
    return "PodsRefused"


def _of(pod: PodView, message: str) -> str:
    return f"pod {pod.name} cannot start: {message}"
