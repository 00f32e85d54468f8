"""The whole decision of a pass, as a list of questions in their order."""

from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import inputs_hash
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan import outcome, validate
from finetune_operator.plan.actions import Action, Decision, Verdict
from finetune_operator.plan.freshness import hold_back
from finetune_operator.plan.gang import gang, is_outdated, release, suspend
from finetune_operator.plan.prepare import data_ready, is_prepared, prepare
from finetune_operator.plan.snapshot import ChildJob, Observed
from finetune_operator.plan.training import numbers, results, training
from finetune_operator.settings import Settings
from finetune_operator.status import messages
from finetune_operator.status.conditions import Opinion, settle
from finetune_operator.status.display import display, is_over

FIRST_SIGHT = {
    ConditionType.DATA_READY: Opinion("Unknown", "Pending", "not prepared yet"),
    ConditionType.PODS_READY: Opinion("Unknown", "Pending", "waiting for the data to be prepared"),
    ConditionType.TRAINING: Opinion("Unknown", "Pending", "not started yet"),
    ConditionType.CHECKPOINT_AVAILABLE: Opinion("False", "NoneYet", "no checkpoint was saved yet"),
    ConditionType.EVALUATED: Opinion("Unknown", "Pending", "compared after training"),
    ConditionType.SUSPENDED: Opinion("False", "NotSuspended"),
    ConditionType.SUCCEEDED: Opinion("Unknown", "Active", "the run is not over"),
}
"""What is said of a job that is seen for the first time."""


def decide(
    job: FineTuneJob | None,
    problems: tuple[str, ...],
    status: FineTuneJobStatus,
    observed: Observed,
    settings: Settings,
    now: float,
) -> Decision:
    """Actions, the status after them, and the next look. ``job`` is None when it has problems."""
    if observed.is_deleting:
        return Decision(status)
    if observed.namespace_is_dying:
        return Decision(status, _let_go(job, observed))
    if is_over(status.conditions):
        return Decision(status.model_copy(update={"observed_generation": observed.generation}))
    if job is None:
        verdict = _first_sight(status).and_then(validate.refused(problems))
    else:
        verdict = _first_sight(status).and_then(validate.accepted())
        verdict = verdict.and_then(_run(job, status, observed, settings, now))
    after = _written(job, status, verdict, observed, now)
    held, due = hold_back(
        status,
        after,
        refreshed_at=observed.refreshed_at,
        interval=settings.status_interval,
        now=now,
    )
    wakes = [wake for wake in (verdict.wake_after, due) if wake is not None]
    return Decision(held, verdict.actions, min(wakes) if wakes else None)


def _let_go(job: FineTuneJob | None, observed: Observed) -> tuple[Action, ...]:
    """The train Job, while its namespace is being deleted: that deletes pods before Jobs, but a Job
    with limits per index keeps a failed pod until its replacement exists, which never will."""
    child = observed.train
    if job is None or child is None:
        return ()
    return release(child, "its namespace is being deleted").actions


def _run(
    job: FineTuneJob, status: FineTuneJobStatus, observed: Observed, settings: Settings, now: float
) -> Verdict:
    child = observed.train
    if child is not None and child.is_finished and not child.is_deleting:
        return _ended(job, status, child, observed, settings, now)
    is_current = child is not None and not child.is_deleting and not is_outdated(child, observed)
    if not is_prepared(job, status) and not (is_current and status.prepared is not None):
        verdict = prepare(job, observed, settings, now)
        is_other = child is not None and child.inputs_hash != inputs_hash(job.spec)
        if child is not None and is_other and not is_current:
            why = "resources were edited: data is prepared again for the new gang"
            verdict = verdict.and_then(release(child, why))
        if job.spec.suspend:
            verdict = suspend(status, observed).and_then(verdict)
        return verdict
    ready = Verdict(conditions=data_ready(status.data))
    if job.spec.suspend:
        return ready.and_then(suspend(status, observed))
    verdict = ready.and_then(gang(job, status, observed, settings, now))
    verdict = verdict.and_then(training(status, observed.progress, settings))
    if child is not None and not child.is_deleting and observed.progress is not None:
        verdict = verdict.and_then(Verdict(wake_after=settings.status_interval))
    return verdict


def _ended(
    job: FineTuneJob,
    status: FineTuneJobStatus,
    child: ChildJob,
    observed: Observed,
    settings: Settings,
    now: float,
) -> Verdict:
    """The train Job is over: so is the run. Its pods' last words may be a moment late."""
    pods = observed.train_pods
    is_told = any(pod.has_ended for pod in pods if pod.index == 0)
    if not is_told and now - (child.finished_at or now) < settings.message_grace:
        return Verdict(wake_after=1.0)
    if child.is_complete:
        return _completed(status, observed)
    memory = job.spec.resources.memory or (status.prepared.memory if status.prepared else "?")
    why = outcome.failure(child, pods, memory=memory)
    failed = Opinion("False", why.exit_class, why.sentence())
    report = outcome.final_report(pods)
    return Verdict(
        conditions={ConditionType.SUCCEEDED: failed, **outcome.stopped(why.exit_class)},
        fields=numbers(status, report) if report is not None else {},
    )


def _completed(status: FineTuneJobStatus, observed: Observed) -> Verdict:
    report = outcome.final_report(observed.train_pods) or observed.progress
    fields = numbers(status, report) if report is not None else {}
    artifacts = fields.get("artifacts", status.artifacts)
    where = (
        (artifacts.adapter or artifacts.merged or artifacts.model)
        if artifacts is not None
        else None
    )
    progress = fields.get("progress", status.progress)
    steps = messages.trained(progress) if progress is not None else "trained"
    message = f"{steps}; results in {where}" if where else steps
    if report is not None and report.finished_at:
        message += f"; finished at {report.finished_at} already, nothing was done again"
    return Verdict(
        conditions={
            **(results(report) if report is not None else {}),
            **outcome.stopped("Completed"),
            ConditionType.SUCCEEDED: Opinion("True", "Completed", message),
        },
        fields=fields,
    )


def _first_sight(status: FineTuneJobStatus) -> Verdict:
    known = {condition.type for condition in status.conditions}
    return Verdict(conditions={k: v for k, v in FIRST_SIGHT.items() if k not in known})


def _written(
    job: FineTuneJob | None,
    status: FineTuneJobStatus,
    verdict: Verdict,
    observed: Observed,
    now: float,
) -> FineTuneJobStatus:
    conditions = settle(
        status.conditions, verdict.conditions, generation=observed.generation, now=now
    )
    after = status.model_copy(
        update={
            **verdict.fields,
            "conditions": conditions,
            "observed_generation": observed.generation,
        }
    )
    spec = job.spec if job is not None else None
    return after.model_copy(update={"display": display(spec, after)})
