"""Which of several failures is the cause: the first one that is not a peer's echo of another.

When a rank dies, its peers fail a moment later with "Connection closed by peer". People must read
about the cause only.
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from finetune_api.exits import ExitClass, Failure
from finetune_trainer.diagnosis import UNKNOWN, diagnose

ECHO = re.compile(
    r"connection (was )?(closed|reset|refused)|connectionreset|broken ?pipe|gloo|"
    r"remote process exited|socket ?timeout|store.*timed? ?out|timed out waiting|"
    r"peer .*(lost|gone)|nccl.*(remote|unhandled system)",
    re.IGNORECASE,
)
FINAL_AT_ONCE = frozenset(
    {
        ExitClass.USER_ERROR, ExitClass.DATA_ERROR, ExitClass.OUT_OF_MEMORY,
        ExitClass.NON_FINITE, ExitClass.GATE_NOT_MET, ExitClass.STORAGE_LOST,
    }
)  # fmt: skip
"""Trying again would give the same result."""
CERTAIN_DEATHS = frozenset({-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS})


@dataclass(frozen=True)
class Seen:
    """One failure as index 0 saw it. ``told`` = the process said so itself."""

    at: float
    failure: Failure
    told: bool
    pod: int
    exit_code: int | None = None

    @property
    def strength(self) -> int:
        """How likely this is the cause: a stated class, then a death, then an echo."""
        if self.told and self.failure.exit_class is not ExitClass.RANK_FAILED:
            return 3
        if ECHO.search(self.failure.message):
            return 0
        by_signal = self.exit_code is not None and self.exit_code < 0
        if self.told or by_signal or self.failure.exit_class is ExitClass.POD_LOST:
            return 2
        return 1

    @property
    def certain(self) -> bool:
        """No echo looks like this: a stated class, or a death that peers cannot bring about."""
        return self.strength == 3 or self.exit_code in CERTAIN_DEATHS


def cause(seen: Iterable[Seen]) -> Seen:
    """The failure to report: the strongest, and of those the first."""
    return min(seen, key=lambda s: (-s.strength, s.at))


def patience(seen: Iterable[Seen], collect: float, lost_after: float) -> float:
    """Seconds from the first failure until the cause is told: hardly any when it is certain, and
    long enough for a silent pod to count as lost when there are only echoes."""
    seen = list(seen)
    if any(s.certain for s in seen):
        return collect / 5
    return collect + lost_after if only_echoes(seen) else collect


def only_echoes(seen: Iterable[Seen]) -> bool:
    """Whether the cause has not shown itself yet."""
    return all(s.strength == 0 for s in seen)


def of_exit(
    rank: int, code: int, step: int, tail: Iterable[str], *, host_memory: bool = False
) -> Failure:
    """The failure of a rank that ended without a word. ``host_memory``: the kernel has killed for
    want of memory meanwhile."""
    lines = [line.strip() for line in tail if line.strip()]
    last = lines[-1] if lines else ""
    telling = next((line for line in lines if diagnose(line) != UNKNOWN), "")
    kind, known = diagnose(telling)
    if host_memory and code == -signal.SIGKILL:
        kind = ExitClass.OUT_OF_MEMORY
        message = f"rank {rank} was killed: the pod's memory is used up"
        remedy = "set a larger resources.memory"
    elif telling:
        message, remedy = f"rank {rank} ended after: {telling}"[:1500], known
    elif code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        message = f"rank {rank} was killed by {name}"
        remedy = "the node may be out of memory: see its events" if name == "SIGKILL" else ""
    else:
        message = f"rank {rank} exited with code {code} without saying why"
        remedy = f"last line of its log: {last}" if last else "see its log"
    return Failure(exit_class=kind, message=message, remedy=remedy[:500], rank=rank, step=step)


def of_event(rank: int, event: dict[str, object], step: int) -> Failure:
    """The failure that a rank told."""
    try:
        kind = ExitClass(str(event.get("class")))
    except ValueError:
        kind = ExitClass.RANK_FAILED
    told = event.get("step")
    return Failure(
        exit_class=kind,
        message=str(event.get("message") or f"rank {rank} failed")[:1500],
        remedy=str(event.get("remedy") or "")[:500],
        rank=rank,
        step=told if isinstance(told, int) else step,
    )
