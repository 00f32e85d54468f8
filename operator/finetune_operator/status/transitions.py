"""The events between two states of a job: one a real transition, none a step.

Told from what was written, so that an event never speaks about something the status does not show.
"""

from collections.abc import Iterator
from typing import NamedTuple

from finetune_api.exits import FREE_CLASSES
from finetune_api.progress import Attempt
from finetune_api.status import Condition, ConditionType, FineTuneJobStatus
from finetune_operator.status.conditions import find
from finetune_operator.status.messages import plural

BLOCKERS = frozenset(
    {
        "ChildConflict", "CreateRejected", "ImagePullFailed", "MissingSecret", "ContainerConfig",
        "Unschedulable", "QuotaExceeded", "PodSecurity", "PodsRefused", "GangIncomplete",
        "LimitRange", "PolicyDenied", "MissingPriorityClass", "MissingServiceAccount",
        "StorageUnreachable",
    }
)  # fmt: skip


class Event(NamedTuple):
    """What is told once. ``key`` names the transition: the same one is never told twice."""

    type: str
    reason: str
    message: str
    key: str


def events(before: FineTuneJobStatus, after: FineTuneJobStatus) -> list[Event]:
    """The events of a written status, in the order things happen."""
    told: list[Event] = []
    for condition in after.conditions:
        old = find(before.conditions, ConditionType(condition.type))
        if old is None or (old.status, old.reason) != (condition.status, condition.reason):
            told.extend(_of_condition(old, condition))
    told.extend(_of_attempts(before, after))
    return told


def _of_condition(old: Condition | None, new: Condition) -> Iterator[Event]:
    key = f"{new.type}/{new.reason}/{new.last_transition_time}"
    rule = {
        (ConditionType.VALIDATED, "Invalid"): ("Warning", "Invalid"),
        (ConditionType.DATA_READY, "Preparing"): ("Normal", "PrepareStarted"),
        (ConditionType.DATA_READY, "PreparingAgain"): ("Normal", "PreparingAgain"),
        (ConditionType.DATA_READY, "Prepared"): ("Normal", "DataReady"),
        (ConditionType.PODS_READY, "AllReady"): ("Normal", "GangStarted"),
        (ConditionType.PODS_READY, "PodLost"): ("Warning", "PodLost"),
        (ConditionType.TRAINING, "Stalled"): ("Warning", "StallDetected"),
        (ConditionType.CHECKPOINT_AVAILABLE, "Verified"): ("Normal", "CheckpointSaved"),
        (ConditionType.EVALUATED, "Compared"): ("Normal", "EvaluationFinished"),
        (ConditionType.SUSPENDED, "SuspendedByUser"): ("Normal", "Suspended"),
    }.get((ConditionType(new.type), new.reason))
    if rule == ("Normal", "GangStarted") and old is not None and old.reason == "PodLost":
        rule = ("Normal", "GangComplete")
    if new.type == ConditionType.SUCCEEDED and new.status != "Unknown":
        rule = ("Normal", "Succeeded") if new.status == "True" else ("Warning", "Failed")
    if rule is None and new.reason in BLOCKERS:
        rule = ("Warning", new.reason)
    if rule is not None:
        yield Event(*rule, new.message, key)


def _of_attempts(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Event]:
    known = {attempt.number for attempt in before.attempts}
    for attempt in after.attempts:
        if attempt.number in known:
            continue
        key = f"attempt/{attempt.number}"
        if attempt.number == 1 or attempt.from_step == 0:
            yield Event("Normal", "TrainingStarted", _started(attempt, after), key)
        else:
            yield Event("Normal", "Resumed", _resumed(attempt, after), key)


def _started(attempt: Attempt, status: FineTuneJobStatus) -> str:
    nodes = status.display.nodes if status.display else 0
    ranks = f", {status.plan.ranks} {plural('rank', status.plan.ranks)}" if status.plan else ""
    return f"attempt {attempt.number} started on {nodes} {plural('node', nodes)}{ranks}"


def _resumed(attempt: Attempt, status: FineTuneJobStatus) -> str:
    total = status.progress.total_steps if status.progress else 0
    previous = next((a for a in status.attempts if a.number == attempt.number - 1), None)
    free = ""
    if previous is not None and previous.reason in FREE_CLASSES:
        free = f" ({previous.reason} spends no retry)"
    return f"attempt {attempt.number} resumed at step {attempt.from_step} of {total}{free}"
