"""The train Job and its Service: made from what prepare found, released on suspend, never touched
while they run. Recovery is the gang's own business; seeing nothing is no reason to act."""

from datetime import datetime

from finetune_api.exits import FINAL_CODES, ExitClass
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import launch_hash
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan import blocked, outcome
from finetune_operator.plan.actions import (
    Action,
    CreateService,
    CreateTrainJob,
    DeleteJob,
    Verdict,
)
from finetune_operator.plan.prepare import blocked_wake
from finetune_operator.plan.refusals import Blocker
from finetune_operator.plan.snapshot import ChildJob, FindingKind, Observed, PodView
from finetune_operator.plan.training import numbers
from finetune_operator.settings import Settings
from finetune_operator.status import messages
from finetune_operator.status.conditions import Opinion, find, holds, reason_of

RUNNING = Opinion("False", "NotSuspended")


def suspend(status: FineTuneJobStatus, observed: Observed) -> Verdict:
    """Release the GPUs: delete the train Job and wait until its pods have saved and gone."""
    child = observed.train
    if child is None:
        saved = status.checkpoint
        where = f"; it resumes from step {saved.step}" if saved is not None else ""
        return Verdict(
            conditions={
                ConditionType.SUSPENDED: Opinion(
                    "True", "SuspendedByUser", f"suspended by user: no GPU is held{where}"
                ),
                ConditionType.PODS_READY: Opinion("False", "Suspended", "the job is suspended"),
                ConditionType.TRAINING: Opinion("False", "Suspended", "the job is suspended"),
            }
        )
    leaving = Opinion("False", "Suspending", "pods save a checkpoint, then leave")
    last_words = outcome.final_report(observed.train_pods)
    return Verdict(
        actions=() if child.is_deleting else (_delete(child, "suspended by user"),),
        conditions={ConditionType.SUSPENDED: leaving},
        fields=numbers(status, last_words) if last_words is not None else {},
    )


def gang(
    job: FineTuneJob, status: FineTuneJobStatus, observed: Observed, settings: Settings, now: float
) -> Verdict:
    """Make what is missing; say how many pods are ready and what holds the others back."""
    child = observed.train
    running = Verdict(conditions={ConditionType.SUSPENDED: RUNNING})
    if child is None:
        return running.and_then(_create(status, observed))
    if child.is_deleting:
        waiting = Opinion("False", "Replacing", "pods of the previous train Job are leaving")
        return running.and_then(Verdict(conditions={ConditionType.PODS_READY: waiting}))
    if child.launch_hash != launch_hash(job.spec) and is_outdated(child, observed):
        why = "edited while suspended: the train Job is made anew"
        return running.and_then(Verdict(actions=(_delete(child, why),)))
    service = () if observed.has_service or "service" in observed.findings else (CreateService(),)
    return (
        Verdict(actions=service)
        .and_then(running)
        .and_then(_readiness(job, status, child, observed, settings, now))
    )


def is_outdated(child: ChildJob, observed: Observed) -> bool:
    """Whether the job was edited since. Hashes alone must not tell: a newer operator may know more
    fields and hash an unchanged job differently, and an upgrade disturbs no running gang."""
    return child.generation != observed.generation


def release(child: ChildJob, why: str) -> Verdict:
    """Delete a train Job that no longer fits what prepare is to find out."""
    return Verdict(actions=() if child.is_deleting else (_delete(child, why),))


def _delete(child: ChildJob, why: str) -> DeleteJob:
    return DeleteJob(child.name, child.uid, why)


def _create(status: FineTuneJobStatus, observed: Observed) -> Verdict:
    assert status.prepared is not None
    opinion = Opinion("False", "Starting", "the gang is being started")
    blocking = [
        observed.findings[child]
        for child in ("service", "train")
        if child in observed.findings
    ]  # fmt: skip
    if blocking:
        opinion = Opinion("False", *blocked.creation(blocking[0]))
    actions: list[Action] = []
    if not observed.has_service:
        actions.append(CreateService())
    actions.append(CreateTrainJob(status.prepared, _faulty_nodes(status)))
    held = [f for f in blocking if f.kind is not FindingKind.REFUSED]
    if held:
        wake = 1.0 if all(f.kind is FindingKind.LEFTOVER for f in held) else 30.0
        return Verdict(conditions={ConditionType.PODS_READY: opinion}, wake_after=wake)
    return Verdict(actions=tuple(actions), conditions={ConditionType.PODS_READY: opinion})


def _faulty_nodes(status: FineTuneJobStatus) -> frozenset[str]:
    """Nodes whose hardware has ended an attempt of this run."""
    faults = [a for a in status.attempts if a.reason is ExitClass.HARDWARE_FAULT]
    return frozenset(attempt.node for attempt in faults if attempt.node)


def _readiness(
    job: FineTuneJob,
    status: FineTuneJobStatus,
    child: ChildJob,
    observed: Observed,
    settings: Settings,
    now: float,
) -> Verdict:
    pods = observed.train_pods
    if _is_ending(pods):
        return Verdict(wake_after=5.0)
    wanted = job.spec.resources.nodes
    ready = len({pod.index for pod in pods if pod.is_well})
    count = messages.pods_ready(ready, wanted)
    if ready >= wanted:
        opinion = Opinion("True", "AllReady", count)
        return Verdict(conditions={ConditionType.PODS_READY: opinion})
    age = now - child.created_at
    found = blocked.blocker(child, pods, observed.warnings)
    had_all = holds(status.conditions, ConditionType.PODS_READY)
    was_lost = reason_of(status.conditions, ConditionType.PODS_READY) == "PodLost"
    if had_all or was_lost:
        opinion = Opinion("False", "PodLost", _loss(count, pods, found))
        age = _since(status, now)
    elif age < settings.patience:
        opinion = Opinion("False", "Starting", "the gang is being started")
        return Verdict(
            conditions={ConditionType.PODS_READY: opinion}, wake_after=settings.patience - age
        )
    elif found is not None:
        opinion = Opinion("False", found.reason, f"{count}; {found.message}")
    else:
        missing = ", ".join(f"train-{i}" for i in _missing(pods, wanted))
        opinion = Opinion("False", "GangIncomplete", f"{count}; waiting for {missing}")
    return Verdict(conditions={ConditionType.PODS_READY: opinion}, wake_after=blocked_wake(age))


def _is_ending(pods: tuple[PodView, ...]) -> bool:
    """Index 0 has said its last word: what the others do now is the Job's end, not a loss."""
    return any(
        pod.exit_code in FINAL_CODES or (pod.index == 0 and pod.exit_code == 0) for pod in pods
    )


def _missing(pods: tuple[PodView, ...], wanted: int) -> list[int]:
    well = {pod.index for pod in pods if pod.is_well}
    return [index for index in range(wanted) if index not in well][:8]


def _loss(count: str, pods: tuple[PodView, ...], found: Blocker | None) -> str:
    lost = [pod for pod in pods if pod.has_ended or pod.is_deleting]
    parts = [count]
    if lost:
        newest = max(lost, key=lambda pod: (pod.finished_at or 0.0, pod.created_at))
        where = f" on {newest.node}" if newest.node else ""
        parts.append(f"train-{newest.index} was lost{where} ({_how(newest)})")
        if newest.is_given_up and not newest.has_ended:
            parts.append(
                f"another pod takes its place once {newest.node} is back or removed "
                f"(kubectl delete node {newest.node}); a lost node spends no retry"
            )
    if found is not None:
        parts.append(found.message)
    if len(parts) == 1:
        unready = [pod for pod in pods if not pod.is_ready]
        parts += [f"train-{pod.index} on {pod.node} is not ready" for pod in unready[:1]]
    return "; ".join(parts)


def _how(lost: PodView) -> str:
    if lost.exit_code is not None:
        return f"exit code {lost.exit_code}"
    if lost.is_given_up:
        return "its node does not answer"
    return lost.pod_message or "evicted"


def _since(status: FineTuneJobStatus, now: float) -> float:
    """How long the pods have not been ready."""
    found = find(status.conditions, ConditionType.PODS_READY)
    if found is None or found.status == "True":
        return 0.0
    return now - datetime.fromisoformat(found.last_transition_time).timestamp()
