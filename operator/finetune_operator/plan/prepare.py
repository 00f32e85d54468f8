"""The prepare Job: made, watched, and its message persisted before anything else may follow.

Order matters. The result goes into the status in a patch of its own; the train Job is made in a
later pass, from the status. So a crash at any point loses nothing, and a message that is gone with
its node only makes prepare run again.
"""

from finetune_api import defaults
from finetune_api.exits import FINAL_CODES, FREE_CODES, ExitClass, Failure
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import inputs_hash, launch_hash
from finetune_api.progress import DataSummary
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan import blocked, outcome
from finetune_operator.plan.actions import CreatePrepareJob, DeleteJob, Verdict
from finetune_operator.plan.snapshot import ChildJob, FindingKind, Observed, PodView
from finetune_operator.settings import Settings
from finetune_operator.status import messages
from finetune_operator.status.conditions import Opinion

MENDABLE = frozenset(
    {
        ExitClass.USER_ERROR, ExitClass.DATA_ERROR, ExitClass.OUT_OF_MEMORY,
        ExitClass.STORAGE_UNREACHABLE, ExitClass.STORAGE_LOST,
    }
)  # fmt: skip
"""Failures whose remedy is the user's; the finished run itself is never started again."""
AGAIN = "then delete this job and apply it again"
PREPARING = Opinion("Unknown", "Preparing", "data is checked and tokenised on a CPU pod")


def is_prepared(job: FineTuneJob, status: FineTuneJobStatus) -> bool:
    """Whether the status holds a result that was made from the present inputs."""
    prepared = status.prepared
    return prepared is not None and prepared.inputs_hash == inputs_hash(job.spec)


def prepare(job: FineTuneJob, observed: Observed, settings: Settings, now: float) -> Verdict:
    """The next step towards ``status.prepared``."""
    finding = observed.findings.get("prepare")
    child = observed.prepare
    if child is None:
        return _create(finding is None or finding.kind is FindingKind.REFUSED, observed)
    if child.is_deleting:
        return Verdict(conditions={ConditionType.DATA_READY: PREPARING})
    if child.inputs_hash != inputs_hash(job.spec):
        return _again(child, "resources were edited: data is prepared again for the new gang")
    if not child.is_finished and _was_edited(job, child, observed):
        return _again(child, "the job was edited: data is prepared by a pod made anew")
    if child.is_complete:
        return _completed(job, child, observed, settings, now)
    if child.is_failed:
        return _failed(job, child, observed, settings, now)
    return _running(job, child, observed, settings, now)


def _was_edited(job: FineTuneJob, child: ChildJob, observed: Observed) -> bool:
    """Whether its pod would be another one today; hashes alone must not tell: see ``gang``."""
    is_same = child.launch_hash == launch_hash(job.spec)
    return not is_same and child.generation != observed.generation


def _create(may_create: bool, observed: Observed) -> Verdict:
    finding = observed.findings.get("prepare")
    opinion = PREPARING
    if finding is not None:
        opinion = Opinion("False", *blocked.creation(finding))
    return Verdict(
        actions=(CreatePrepareJob(),) if may_create else (),
        conditions={ConditionType.DATA_READY: opinion},
        wake_after=None if may_create else _recheck(observed),
    )


def _recheck(observed: Observed) -> float:
    finding = observed.findings["prepare"]
    return 1.0 if finding.kind is FindingKind.LEFTOVER else 30.0


def _again(child: ChildJob, why: str) -> Verdict:
    return Verdict(
        actions=(DeleteJob(child.name, child.uid, why, even_finished=True),),
        conditions={ConditionType.DATA_READY: Opinion("Unknown", "PreparingAgain", why)},
    )


def _completed(
    job: FineTuneJob, child: ChildJob, observed: Observed, settings: Settings, now: float
) -> Verdict:
    """Persist the result. Jobs and pods arrive in two streams, so a message that is not there yet
    is waited for; one that stays away went with its pod, and prepare runs again."""
    ended = [pod for pod in observed.prepare_pods if pod.exit_code == 0]
    if not ended:
        if now - (child.finished_at or now) < settings.message_grace:
            return Verdict(conditions={ConditionType.DATA_READY: PREPARING}, wake_after=1.0)
        return _again(child, "prepare's result was lost with its pod: it runs again")
    try:
        result = outcome.prepare_result(ended[-1].termination_message)
    except outcome.UnreadableError as error:
        return broken(f"prepare ended well, but its result cannot be read: {error}")
    if result.prepared.inputs_hash != inputs_hash(job.spec):
        return broken("prepare ended well, but its result is about other inputs")
    return Verdict(
        conditions=data_ready(result.data),
        fields={"prepared": result.prepared, "plan": result.plan, "data": result.data},
        wake_after=0.0,
    )


def _failed(
    job: FineTuneJob, child: ChildJob, observed: Observed, settings: Settings, now: float
) -> Verdict:
    pods = observed.prepare_pods
    has_ended = any(pod.has_ended for pod in pods)
    if not has_ended and now - (child.finished_at or now) < settings.message_grace:
        return Verdict(wake_after=1.0)
    return failed(_why(job, child, pods))


def _why(job: FineTuneJob, child: ChildJob, pods: tuple[PodView, ...]) -> Failure:
    return outcome.failure(child, pods, memory=job.spec.resources.prepare.memory)


def data_ready(data: DataSummary | None) -> dict[ConditionType, Opinion]:
    """The data is ready, and what it is. Said in every later pass too: resources that were edited
    back and forth may have left the condition at an earlier word."""
    message = messages.data_ready(data) if data is not None else ""
    return {ConditionType.DATA_READY: Opinion("True", "Prepared", message)}


def failed(why: Failure) -> Verdict:
    """Prepare's failure is the run's. Its sentence stands once, where the run's end is told."""
    message = f"{why.sentence()}; {AGAIN}" if why.exit_class in MENDABLE else why.sentence()
    return Verdict(
        conditions={
            ConditionType.DATA_READY: Opinion(
                "False", why.exit_class, "prepare ended the run: see Succeeded"
            ),
            **outcome.stopped(why.exit_class),
            ConditionType.SUCCEEDED: Opinion("False", why.exit_class, message),
        }
    )


def broken(message: str) -> Verdict:
    """The trainer image and this operator do not speak the same language: running it again would
    end the same way."""
    remedy = "use a trainer image of the operator's own version"
    return failed(Failure(exit_class=ExitClass.INTERNAL_ERROR, message=message, remedy=remedy))


def _running(
    job: FineTuneJob, child: ChildJob, observed: Observed, settings: Settings, now: float
) -> Verdict:
    """Prepare goes on: as it should, held back, or again after a pod of it failed."""
    age = now - child.created_at
    opinion = _tried(job, child, observed.prepare_pods) or PREPARING
    if age < settings.patience:
        return Verdict(
            conditions={ConditionType.DATA_READY: opinion}, wake_after=settings.patience - age
        )
    found = blocked.blocker(child, observed.prepare_pods, observed.warnings)
    if found is None:
        is_running = any(pod.is_ready for pod in observed.prepare_pods)
        wake = None if is_running else blocked_wake(age)
        return Verdict(conditions={ConditionType.DATA_READY: opinion}, wake_after=wake)
    return Verdict(
        conditions={ConditionType.DATA_READY: Opinion("False", *found)},
        wake_after=blocked_wake(age),
    )


def _tried(job: FineTuneJob, child: ChildJob, pods: tuple[PodView, ...]) -> Opinion | None:
    """What ended the last pod while the Job waits to start, or has started, another one."""
    uncounted = (0, *FREE_CODES, *FINAL_CODES)
    failed = tuple(p for p in pods if p.exit_code is not None and p.exit_code not in uncounted)
    if not failed:
        return None
    why = _why(job, child, failed)
    tries = f"try {len(failed)} of {defaults.PREPARE_TRIES}; the next starts by itself"
    return Opinion("False", why.exit_class, f"{why.sentence()} ({tries})")


def blocked_wake(age: float) -> float:
    """How soon to look again at pods that do not come up: rarer the longer it lasts."""
    return min(60.0, max(5.0, age / 2))
