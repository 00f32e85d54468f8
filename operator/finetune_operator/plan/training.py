"""What the run tells about itself: stage, numbers, checkpoints, attempts, results.

No report is no news: everything stays as it was. An attempt number never goes back.
"""

from collections.abc import Mapping
from typing import Any

from finetune_api.progress import Attempt, ProgressReport, Stage
from finetune_api.status import ConditionType, FineTuneJobStatus, Progress
from finetune_operator.plan.actions import Verdict
from finetune_operator.settings import Settings
from finetune_operator.status import messages
from finetune_operator.status.conditions import Opinion, reason_of

STARTING = Opinion("Unknown", "Starting", "the gang is being started")
STAGES: Mapping[Stage, tuple[str, str]] = {
    Stage.PREPARE: ("Starting", "the gang is being started"),
    Stage.WAITING: ("Waiting", "waiting for all pods to join"),
    Stage.SYNC: ("Syncing", "model and data are being downloaded"),
    Stage.BASELINE: ("MeasuringBase", "the base model is being measured"),
    Stage.EVALUATE: ("Evaluating", "the tuned model is being compared with its base"),
    Stage.EXPORT: ("Exporting", "results are being written"),
    Stage.REPORT: ("Exporting", "the report is being written"),
    Stage.DONE: ("Exporting", "results are being written"),
}


def training(
    status: FineTuneJobStatus, report: ProgressReport | None, settings: Settings
) -> Verdict:
    """Conditions and numbers of a run whose gang exists."""
    if report is None or is_old(status, report):
        present = reason_of(status.conditions, ConditionType.TRAINING)
        is_news = present in ("", "Pending", "Suspended")
        return Verdict(conditions={ConditionType.TRAINING: STARTING} if is_news else {})
    conditions = {ConditionType.TRAINING: stage(report, settings)}
    return Verdict(conditions={**conditions, **results(report)}, fields=numbers(status, report))


def is_old(status: FineTuneJobStatus, report: ProgressReport) -> bool:
    """Whether the report is about an attempt before the one that is known."""
    return bool(report.attempt) and report.attempt < _last(status.attempts)


def _last(attempts: list[Attempt]) -> int:
    return max([0, *(attempt.number for attempt in attempts)])


def stage(report: ProgressReport, settings: Settings) -> Opinion:
    """What the gang does now."""
    if report.heartbeat_age_seconds > settings.stall_seconds:
        limit = messages.duration(settings.stall_seconds)
        return Opinion("False", "Stalled", f"no rank has moved for {limit} at step {report.step}")
    if report.stage is Stage.TRAIN:
        return Opinion("True", "Progressing", messages.training(report))
    reason, message = STAGES[report.stage]
    if report.stage is Stage.WAITING:
        message = f"{report.pods_joined} of {report.pods} pods have joined"
    has_failed_attempt = any(attempt.end is not None for attempt in report.attempts)
    if has_failed_attempt and report.stage in (Stage.WAITING, Stage.SYNC):
        reason = "Restarting"
    return Opinion("False", reason, message)


def results(report: ProgressReport) -> dict[ConditionType, Opinion]:
    """What exists already: a checkpoint, a comparison."""
    conditions = {}
    if report.checkpoint is not None:
        conditions[ConditionType.CHECKPOINT_AVAILABLE] = Opinion(
            "True", "Verified", messages.checkpoint(report.checkpoint)
        )
    if report.evaluation:
        conditions[ConditionType.EVALUATED] = Opinion(
            "True", "Compared", messages.compared(report.evaluation, report.forgetting)
        )
    return conditions


def numbers(status: FineTuneJobStatus, report: ProgressReport) -> dict[str, Any]:
    """Status fields of the report. A condensed report leaves things out; what it leaves out stays
    as it was."""
    before = status.progress or Progress()
    fields: dict[str, Any] = {
        "progress": Progress(
            stage=report.stage,
            step=report.step or before.step,
            total_steps=report.total_steps or before.total_steps,
            epoch=report.epoch if report.epoch != "0" else before.epoch,
            metrics=report.metrics[:32] or before.metrics,
            best=report.best or before.best,
            last_report_time=report.reported_at or before.last_report_time,
        ),
    }
    if report.attempts and _last(report.attempts) >= _last(status.attempts):
        fields["attempts"] = report.attempts[-10:]
    if report.checkpoint is not None:
        fields["checkpoint"] = report.checkpoint
    if report.evaluation:
        fields["evaluation"] = report.evaluation[:32]
    if report.forgetting:
        fields["forgetting"] = report.forgetting[:32]
    if report.artifacts.to_wire():
        fields["artifacts"] = report.artifacts
    if report.accounting.gpu_seconds:
        fields["accounting"] = report.accounting
    return fields
