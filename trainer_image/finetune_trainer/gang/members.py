"""Index 0's book of the pods that have joined, and what their ranks have come to."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from finetune_api.exits import ExitClass, Failure
from finetune_trainer.gang.failures import Seen
from finetune_trainer.gang.ledger import Trace

Message = dict[str, Any]


class Link(Protocol):
    """A way to a pod."""

    def send(self, message: Message) -> None:
        """Queue an order."""
        ...

    def close(self) -> None:
        """Cut the connection; the pod joins anew if it lives."""
        ...


@dataclass
class Member:
    """One pod of the gang."""

    index: int
    link: Link
    pod: str
    node: str
    past: Trace
    """The epoch it was in before it joined."""
    heard: float = field(default_factory=time.monotonic)
    leaves_by: float | None = None
    """Deadline (monotonic) of a pod that got SIGTERM."""
    synced: int = 0
    stopped: int = 0
    facts: Message = field(default_factory=dict)
    ranks: dict[str, tuple[int, float, bool]] = field(default_factory=dict)
    """Living ranks: step, silence, and whether that is longer than it may be."""


@dataclass
class Epoch:
    """What has happened since the ranks of an epoch were started."""

    number: int
    world_size: int
    from_step: int
    started: float = field(default_factory=time.monotonic)
    outcomes: dict[int, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    step: int = 0
    aborted: bool = False

    def on_rank_ended(self, member: Member, message: Message) -> None:
        """A rank of this epoch has ended."""
        self.outcomes[int(message["rank"])] = message["outcome"]
        self.step = max(self.step, int(message["step"]))
        if message["outcome"] == "failed":
            failure = Failure.model_validate(message["failure"])
            self.seen.append(
                Seen(time.monotonic(), failure, message["told"], member.index, message["code"])
            )

    def on_lost(self, member: Member) -> None:
        """A pod of this epoch is gone."""
        failure = Failure(
            exit_class=ExitClass.POD_LOST,
            message=f"pod {member.index} ({member.pod}) was lost",
            remedy="the job goes on when it has been replaced",
            step=self.step,
        )
        self.seen.append(Seen(time.monotonic(), failure, told=False, pod=member.index))

    @property
    def finished(self) -> bool:
        """Every rank has done everything."""
        return len(self.outcomes) == self.world_size and set(self.outcomes.values()) == {"done"}

    @property
    def ended(self) -> bool:
        """No rank runs any more."""
        return len(self.outcomes) == self.world_size


def straggler(members: Iterable[Member]) -> tuple[Member, int] | None:
    """The rank that a stalled gang waits for: the one with the fewest steps, silent longest.

    One late rank is enough to look; it is mostly not the late one that hangs, because all ranks
    wait for each other.
    """
    ranks = [(m, int(number), *told) for m in members for number, told in m.ranks.items()]
    if not any(late for *_, late in ranks):
        return None
    member, number, *_ = min(ranks, key=lambda r: (r[2], -r[3]))
    return member, number


@dataclass
class Outcome:
    """How a supervisor leaves."""

    code: int
    failure: Failure | None = None


Notify = Callable[[], None]
