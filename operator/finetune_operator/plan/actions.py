"""The closed set of things that may be done to the cluster, and what a pass decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from finetune_api.progress import Prepared
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.status.conditions import Opinion


@dataclass(frozen=True)
class CreatePrepareJob:
    """Make the prepare Job."""


@dataclass(frozen=True)
class CreateService:
    """Make the headless Service."""


@dataclass(frozen=True)
class CreateTrainJob:
    """Make the train Job from what prepare found out, away from the nodes ``avoid``."""

    prepared: Prepared
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DeleteJob:
    """Delete exactly this Job with its pods, after a live look at it."""

    name: str
    uid: str
    why: str
    """For the log."""
    even_finished: bool = False
    """Whether a Job that has meanwhile ended may be deleted too."""


Action = CreatePrepareJob | CreateService | CreateTrainJob | DeleteJob


@dataclass(frozen=True)
class Verdict:
    """What one policy wants. Conditions and fields that it does not mention stay as they are."""

    actions: tuple[Action, ...] = ()
    conditions: Mapping[ConditionType, Opinion] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Status fields to set."""
    wake_after: float | None = None
    """Look again after so many seconds even if nothing happens."""

    def and_then(self, later: Self) -> Self:
        """Both; where they speak about the same thing, the later one is right."""
        wakes = [w for w in (self.wake_after, later.wake_after) if w is not None]
        return type(self)(
            actions=self.actions + later.actions,
            conditions={**self.conditions, **later.conditions},
            fields={**self.fields, **later.fields},
            wake_after=min(wakes) if wakes else None,
        )


@dataclass(frozen=True)
class Decision:
    """What a pass does: actions in order, then the status, then the next look."""

    status: FineTuneJobStatus
    actions: tuple[Action, ...] = ()
    wake_after: float | None = None
