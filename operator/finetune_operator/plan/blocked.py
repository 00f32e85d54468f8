"""Why pods do not come up: said in one sentence, from what Kubernetes itself says."""

import re

from finetune_operator.plan.refusals import AGAIN, Blocker, explained
from finetune_operator.plan.snapshot import ChildJob, Finding, FindingKind, PodView, Warning

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


MISSING_SECRET = re.compile(r'secret "(?P<name>[^"]+)" not found', re.IGNORECASE)
BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: ErrImagePull: )?')
"""What a kubelet puts before the cause between two tries; without it both tell the same."""
PREEMPTION = re.compile(r"\s*(no new claims to deallocate, )?preemption: .*$", re.DOTALL)
"""What the scheduler adds about evicting others, which no job of ours may ask for."""


def blocker(
    child: ChildJob, pods: tuple[PodView, ...], warnings: tuple[Warning, ...]
) -> Blocker | None:
    """The first thing that keeps pods from running; None when nothing is known to."""
    waiting = [p for p in pods if not p.has_ended and not p.is_deleting and not p.is_ready]
    for pod in waiting:
        if pod.waiting_reason in IMAGE_REASONS:
            return _image(pod)
        if pod.waiting_reason in CONFIG_REASONS:
            return _config(pod, pod.waiting_message)
    names = {pod.name: pod for pod in waiting}
    for warning in warnings:
        if warning.reason == "FailedMount" and warning.object in names:
            return _config(names[warning.object], warning.message)
    for warning in warnings:
        if warning.reason == "NodeNotReady" and warning.object in names:
            pod = names[warning.object]
            if warning.at >= pod.unready_since - 1.0:  # Whole seconds; an older one is history.
                return _silent_node(pod)
    for pod in waiting:
        if pod.unschedulable:
            return _unschedulable(pod)
    for warning in warnings:
        if warning.reason == "FailedCreate" and warning.object == child.name:
            return explained(f"the pods of Job {child.name}", warning.message, "PodsRefused")
    return None


def needs_events(child: ChildJob, pods: tuple[PodView, ...]) -> list[str]:
    """Uids of the children whose warning events must be read, because their state does not say why
    they stand still: a Job with too few pods, a pod that has a node but is not ready there."""
    if child.is_finished or child.is_deleting:
        return []
    living = [pod for pod in pods if not pod.has_ended]
    silent = [pod.uid for pod in living if pod.node and not pod.is_ready]
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
    return explained(finding.object, finding.message, "CreateRejected")


def _image(pod: PodView) -> Blocker:
    words = BACK_OFF.sub("", pod.waiting_message) or pod.waiting_reason
    message = (
        f"image {pod.image} of pod {pod.name} cannot be pulled: {words}; the site names it "
        f"(--trainer-image-cpu and --trainer-image-cuda of the operator); {AGAIN} once it is there"
    )
    return Blocker("ImagePullFailed", message)


def _config(pod: PodView, words: str) -> Blocker:
    missing = MISSING_SECRET.search(words)
    if missing is None:
        return Blocker("ContainerConfig", f"pod {pod.name} cannot start: {words}")
    message = (
        f"Secret {missing['name']} does not exist in this namespace and pod {pod.name} waits for "
        f"it; {AGAIN} once it is created"
    )
    return Blocker("MissingSecret", message)


def _silent_node(pod: PodView) -> Blocker:
    message = (
        f"node {pod.node} of pod {pod.name} does not answer; if it stays silent Kubernetes gives "
        "the pod up, and the run goes on from its last checkpoint with another one"
    )
    return Blocker("NodeNotReady", message)


def _unschedulable(pod: PodView) -> Blocker:
    asks = f" that has {pod.asks}" if pod.asks else ""
    message = (
        f"pod {pod.name} finds no node{asks}: {PREEMPTION.sub('', pod.unschedulable).rstrip('.')}; "
        f"{AGAIN} once one fits; spec.resources and spec.scheduling can change while suspended"
    )
    return Blocker("Unschedulable", message)
