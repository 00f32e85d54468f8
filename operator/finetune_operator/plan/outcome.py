"""How a Job ended: from its pods' last words, or, where those are lost, from what Kubernetes says.

Only index 0 leaves with the whole story; another pod's word counts when index 0 left none.
"""

import json
from typing import Any

from pydantic import ValidationError

from finetune_api.exits import EXIT_CODES, ExitClass, Failure
from finetune_api.progress import PrepareResult, ProgressReport, read_versioned
from finetune_api.status import ConditionType
from finetune_operator.plan.snapshot import ChildJob, PodView
from finetune_operator.status.conditions import Opinion

CLASS_OF_CODE = {code: exit_class for exit_class, code in EXIT_CODES.items()}


class UnreadableError(ValueError):
    """A termination message that does not hold the document it should."""


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UnreadableError("it is not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableError("it is not a JSON object")
    return document


def prepare_result(text: str) -> PrepareResult:
    """The result of a prepare pod that ended well; UnreadableError says why it is none."""
    try:
        return read_versioned(PrepareResult, _document(text))
    except ValidationError as error:
        raise UnreadableError(
            f"{error.error_count()} of its fields are wrong or missing"
        ) from error
    except ValueError as error:
        raise UnreadableError(str(error)) from error


def stopped(reason: str) -> dict[ConditionType, Opinion]:
    """What is said about pods and training of a run that is over."""
    return {
        ConditionType.PODS_READY: Opinion("False", reason, "the run is over"),
        ConditionType.TRAINING: Opinion("False", reason, "the run is over"),
        ConditionType.SUSPENDED: Opinion("False", "NotSuspended"),
    }


def final_report(pods: tuple[PodView, ...]) -> ProgressReport | None:
    """The condensed report that index 0 left; None when it is lost."""
    for pod in _by_weight(pods):
        if pod.index == 0 and pod.termination_message:
            return _report(pod)
    return None


def _report(pod: PodView) -> ProgressReport | None:
    try:
        return ProgressReport.read(_document(pod.termination_message))
    except ValueError:
        return None


def failure(child: ChildJob, pods: tuple[PodView, ...], *, memory: str) -> Failure:
    """Why the Job failed, in its pods' words if any are left, else in Kubernetes' own.

    ``memory`` is the limit of the pods, for the sentence about its being exceeded.
    """
    ended = [pod for pod in _by_weight(pods) if pod.exit_code != 0 and pod.has_ended]
    for pod in ended:
        told = _told(pod)
        if told is not None:
            return told
    for pod in ended:
        if pod.exit_reason == "OOMKilled":
            return Failure(
                exit_class=ExitClass.OUT_OF_MEMORY,
                message=f"pod {pod.name} was killed for using more than its {memory} of memory",
                remedy="ask for more memory under spec.resources",
            )
        if pod.exit_code in CLASS_OF_CODE:
            return Failure(
                exit_class=CLASS_OF_CODE[pod.exit_code],
                message=f"pod {pod.name} ended with exit code {pod.exit_code} and left no message",
                remedy="read its log",
            )
    return _of_job(child, ended)


def _told(pod: PodView) -> Failure | None:
    """A supervisor leaves a report that holds its failure; prepare leaves the failure alone."""
    report = _report(pod)
    if report is not None:
        return report.failure
    try:
        return Failure.model_validate(_document(pod.termination_message), extra="ignore")
    except ValueError:
        return None


def _of_job(child: ChildJob, ended: list[PodView]) -> Failure:
    """All that is left is the Job's condition, and the last pod that ended badly."""
    last = ""
    if ended:
        code = ended[0].exit_code
        how = f"with exit code {code}" if code is not None else f"({ended[0].pod_message})"
        last = f"; pod {ended[0].name} ended {how}"
    is_fuse = child.reason in ("BackoffLimitExceeded", "MaxFailedIndexesExceeded", "FailedIndexes")
    return Failure(
        exit_class=ExitClass.RETRIES_EXHAUSTED if is_fuse else ExitClass.INTERNAL_ERROR,
        message=f"Job {child.name} failed: {child.message or child.reason}{last}"[:1500],
        remedy="read the log of its pods",
    )


def _by_weight(pods: tuple[PodView, ...]) -> list[PodView]:
    """Index 0 first, then the latest end first."""
    return sorted(pods, key=lambda pod: (pod.index, -(pod.finished_at or 0.0)))
