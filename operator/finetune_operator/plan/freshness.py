"""What is worth a write now: a change of state at once, numbers at most every so often."""

from finetune_api.status import FineTuneJobStatus


def state(status: FineTuneJobStatus) -> object:
    """The part of the status whose change people wait for."""
    return (
        status.observed_generation,
        [(c.type, c.status, c.reason, c.observed_generation) for c in status.conditions],
        status.prepared,
        status.display.status if status.display else None,
        [(attempt.number, attempt.reason) for attempt in status.attempts],
        status.evaluation,
        status.forgetting,
        status.artifacts,
    )


def hold_back(
    before: FineTuneJobStatus,
    after: FineTuneJobStatus,
    *,
    refreshed_at: float | None,
    interval: float,
    now: float,
) -> tuple[FineTuneJobStatus, float | None]:
    """The status to write now, and when to look again if something was held back."""
    if before == after or state(before) != state(after) or refreshed_at is None:
        return after, None
    due = refreshed_at + interval - now
    return (after, None) if due <= 0 or due > interval else (before, due)
