"""Conditions: a status with a reason and a sentence, and the time when the status last changed."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from finetune_api.status import Condition, ConditionType

ConditionStatus = Literal["True", "False", "Unknown"]


class Opinion(NamedTuple):
    """What a condition should say now."""

    status: ConditionStatus
    reason: str
    message: str = ""


def timestamp(now: float) -> str:
    """A time as Kubernetes writes it."""
    return datetime.fromtimestamp(int(now), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def settle(
    present: Iterable[Condition],
    wanted: Mapping[ConditionType, Opinion],
    *,
    generation: int,
    now: float,
) -> list[Condition]:
    """The conditions after a pass, in the order of their types. ``lastTransitionTime`` moves if and
    only if the status does; a type that nobody has an opinion about keeps what it said."""
    known = {condition.type: condition for condition in present}
    for kind, opinion in wanted.items():
        before = known.get(kind)
        is_same = before is not None and before.status == opinion.status
        known[kind] = Condition(
            type=kind,
            status=opinion.status,
            reason=opinion.reason,
            message=opinion.message[:2048],
            last_transition_time=(
                before.last_transition_time if before and is_same else timestamp(now)
            ),
            observed_generation=generation,
        )
    order = list(ConditionType)
    ours = [known[kind] for kind in order if kind in known]
    return ours + [c for kind, c in known.items() if kind not in order]


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """The condition of a type."""
    return next((c for c in conditions if c.type == kind), None)


def holds(conditions: Iterable[Condition], kind: ConditionType) -> bool:
    """Whether the condition is known to be True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def reason_of(conditions: Iterable[Condition], kind: ConditionType) -> str:
    """The reason of a condition; empty when it has none yet."""
    found = find(conditions, kind)
    return found.reason if found is not None else ""
