"""The columns of `kubectl get`, derived from conditions and numbers; for people only."""

from finetune_api.job import FineTuneJobSpec
from finetune_api.method import Method
from finetune_api.status import Condition, ConditionType, Display, FineTuneJobStatus, Progress
from finetune_operator.status import messages
from finetune_operator.status.conditions import find, holds, reason_of

STAGE_WORDS = {
    "Starting": "Starting",
    "Waiting": "Starting",
    "Syncing": "Syncing",
    "MeasuringBase": "Evaluating",
    "Progressing": "Training",
    "Stalled": "Stalled",
    "Evaluating": "Evaluating",
    "Exporting": "Exporting",
}
"""Word by reason of the condition Training."""


def display(spec: FineTuneJobSpec | None, status: FineTuneJobStatus) -> Display:
    """All columns. Without a valid specification only the word and its reason are known."""
    decisive = deciding(status.conditions)
    shown = Display(status=word(status.conditions), reason=decisive.reason if decisive else "")
    if spec is None:
        return shown
    progress = status.progress
    ended = is_over(status.conditions)
    return shown.model_copy(
        update={
            "progress": share(progress),
            "loss": loss(progress),
            "eta": "-" if ended else eta(progress),
            "gpus": spec.resources.nodes * spec.resources.gpus_per_node,
            "nodes": spec.resources.nodes,
            "restarts": max([0, *(attempt.number - 1 for attempt in status.attempts)]),
            "model": spec.model.uri.rstrip("/").rpartition("/")[2][:253],
            "method": method(spec.method),
            "eval": messages.comparison(status.evaluation[0]) if status.evaluation else "-",
            "checkpoint": f"step {status.checkpoint.step}" if status.checkpoint else "-",
        }
    )


def method(chosen: Method) -> str:
    """The method as people call it: LoRA's variant, PEFT's own type, else the field's name."""
    if chosen.lora is not None:
        return chosen.lora.variant
    if chosen.peft is not None:
        return chosen.peft.type
    return {"qlora": "QLoRA", "ia3": "IA3"}.get(
        chosen.kind, chosen.kind[0].upper() + chosen.kind[1:]
    )


def word(conditions: list[Condition]) -> str:
    """One word, by priority: Failed, Succeeded, Suspended, Restarting, Invalid, Preparing,
    Starting, Syncing, Training, Stalled, Evaluating, Exporting."""
    succeeded = find(conditions, ConditionType.SUCCEEDED)
    if succeeded is not None and succeeded.status != "Unknown":
        return "Succeeded" if succeeded.status == "True" else "Failed"
    if holds(conditions, ConditionType.SUSPENDED):
        return "Suspended"
    if is_restarting(conditions):
        return "Restarting"
    validated = find(conditions, ConditionType.VALIDATED)
    if validated is not None and validated.status == "False":
        return "Invalid"
    if not holds(conditions, ConditionType.DATA_READY):
        return "Preparing"
    if not holds(conditions, ConditionType.PODS_READY):
        return "Starting"
    return STAGE_WORDS.get(reason_of(conditions, ConditionType.TRAINING), "Starting")


def deciding(conditions: list[Condition]) -> Condition | None:
    """The condition that decides the word."""
    kind = {
        "Failed": ConditionType.SUCCEEDED,
        "Succeeded": ConditionType.SUCCEEDED,
        "Suspended": ConditionType.SUSPENDED,
        "Restarting": ConditionType.PODS_READY,
        "Invalid": ConditionType.VALIDATED,
        "Preparing": ConditionType.DATA_READY,
    }.get(word(conditions))
    if kind is ConditionType.PODS_READY and holds(conditions, kind):
        kind = ConditionType.TRAINING
    if kind is None:
        pods = holds(conditions, ConditionType.PODS_READY)
        kind = ConditionType.TRAINING if pods else ConditionType.PODS_READY
    return find(conditions, kind)


def is_restarting(conditions: list[Condition]) -> bool:
    """Whether the gang lost a member or is starting its next attempt."""
    return (
        reason_of(conditions, ConditionType.PODS_READY) == "PodLost"
        or reason_of(conditions, ConditionType.TRAINING) == "Restarting"
    )


def is_over(conditions: list[Condition]) -> bool:
    """Whether the run is over, well or badly."""
    succeeded = find(conditions, ConditionType.SUCCEEDED)
    return succeeded is not None and succeeded.status != "Unknown"


def share(progress: Progress | None) -> str:
    """`62% (1240/2000)`."""
    if progress is None or not progress.total_steps:
        return "-"
    done = min(progress.step, progress.total_steps)
    return f"{100 * done // progress.total_steps}% ({progress.step}/{progress.total_steps})"


def loss(progress: Progress | None) -> str:
    """`1.043`."""
    text = messages.metric(progress.metrics, "loss") if progress is not None else None
    return messages.number(text) if text is not None else "-"


def eta(progress: Progress | None) -> str:
    """Steps left at the present speed: `47m`."""
    if progress is None or progress.stage != "train":
        return "-"
    seconds = messages.finite(messages.metric(progress.metrics, "step_seconds"))
    left = progress.total_steps - progress.step
    return messages.duration(left * seconds) if seconds is not None and left > 0 else "-"
