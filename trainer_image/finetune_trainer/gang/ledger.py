"""The ledger of attempts: the only retry budget, the source of accounting, and the fence.

An attempt is one epoch of the gang. Index 0 writes `attempts/NNNN.json` when it starts and
`NNNN.end.json` when it ended; a higher number than one's own means that another index 0 has taken
over. This file decides; `LedgerBook` reads and writes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from finetune_api.errors import JobError
from finetune_api.exits import FREE_CLASSES, ExitClass, Failure
from finetune_api.progress import Accounting, Attempt
from finetune_trainer.gang.agent_client import StorageAgent

API_VERSION = "1.0"
FREE_RESTARTS = 5
UNSPENT = frozenset({ExitClass.COMPLETED, ExitClass.OUT_OF_MEMORY})
"""Beside the free ones: smaller plans run out by themselves."""
SHOWN = 10


class FencedError(JobError):
    """Another index 0 has opened a later attempt: this one must not write any more."""

    exit_class = ExitClass.INTERNAL_ERROR


def now_text() -> str:
    """The time as documents carry it."""
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """A time of UTC as documents carry it."""
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Trace:
    """A sign of life of an attempt: the step it had reached, seconds after its start."""

    attempt: int
    seconds: float
    step: int

    @classmethod
    def of_checkpoint(cls, record: "Record", step: int, saved_at: str) -> "Trace | None":
        """What a stored checkpoint proves; None when a time cannot be read."""
        try:
            taken = datetime.fromisoformat(saved_at) - datetime.fromisoformat(record.start)
        except (ValueError, TypeError):
            return None
        return cls(record.number, max(0.0, taken.total_seconds()), step)


@dataclass
class Record:
    """One attempt."""

    number: int
    start: str
    from_step: int
    pods: list[str] = field(default_factory=list)
    end: dict[str, Any] | None = None
    world_size: int = 0
    """Ranks of it; 0 when that was not told."""

    def after(self, seconds: float) -> str | None:
        """The time so long after its start; None when that cannot be read."""
        try:
            return time_text(datetime.fromisoformat(self.start) + timedelta(seconds=seconds))
        except ValueError:
            return None

    @property
    def orphaned(self) -> bool:
        """Whether a later index 0 had to end it: what it took is only what can be proved."""
        return self.end is None or bool(self.end.get("orphaned"))

    @property
    def reason(self) -> ExitClass | None:
        """Why it ended; None while it runs."""
        return ExitClass(self.end["class"]) if self.end else None

    def attempt(self) -> Attempt:
        """The record as progress reports show it."""
        end = self.end or {}
        return Attempt(
            number=self.number,
            start=self.start,
            end=end.get("end"),
            reason=self.reason,
            from_step=self.from_step,
            to_step=end.get("toStep"),
            message=str(end["message"])[:500] if end.get("message") else None,
            pod=end.get("pod"),
            node=end.get("node"),
            exit_code=end.get("exitCode"),
        )


@dataclass
class Ledger:
    """All attempts of a run, by number."""

    records: dict[int, Record] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Mapping[str, Mapping[str, Any]]) -> "Ledger":
        """Read the objects of attempts/, by name; unreadable ones are left out."""
        ledger = cls()
        for name, document in sorted(documents.items()):
            number, _, kind = name.partition(".")
            if number.isdigit() and kind == "json":
                ledger.records[int(number)] = Record(
                    int(number), str(document.get("start", "")), int(document.get("fromStep", 0)),
                    [str(pod) for pod in document.get("pods", ())],
                    world_size=int(document.get("worldSize", 0)),
                )  # fmt: skip
        for name, document in documents.items():
            number, _, kind = name.partition(".")
            if kind == "end.json" and number.isdigit() and int(number) in ledger.records:
                ledger.records[int(number)].end = dict(document)
        return ledger

    @property
    def last(self) -> int:
        """Number of the newest attempt; 0 before the first."""
        return max(self.records, default=0)

    def from_steps(self) -> dict[int, int]:
        """Attempt → the step it started from."""
        return {number: record.from_step for number, record in self.records.items()}

    def spent(self) -> list[Record]:
        """Attempts that cost a retry."""
        ended = [r for _, r in sorted(self.records.items()) if r.reason is not None]
        return [r for r in ended if r.reason not in FREE_CLASSES | UNSPENT]

    def free_in_a_row(self, step: int) -> int:
        """Newest attempts that ended free of charge and from ``step``, that is without progress."""
        count = 0
        for _, record in sorted(self.records.items(), reverse=True):
            if record.reason not in FREE_CLASSES or record.from_step != step:
                break
            count += 1
        return count

    def verdict(self, max_attempts: int, step: int) -> Failure | None:
        """Why no further attempt may start from ``step``; None when one may."""
        spent = self.spent()
        if len(spent) >= max_attempts:
            end = spent[-1].end or {}
            return Failure(
                exit_class=ExitClass.RETRIES_EXHAUSTED,
                message=f"{len(spent)} of {max_attempts} attempts failed; the last: "
                f"{end.get('message', '')}"[:1500],
                remedy=str(end.get("remedy") or "mend the cause, or raise retries.maxAttempts"),
                rank=end.get("rank"),
                step=end.get("toStep"),
                checkpoint_step=step or None,
            )
        free = self.free_in_a_row(step)
        if free >= FREE_RESTARTS:
            return Failure(
                exit_class=ExitClass.NO_PROGRESS,
                message=f"{free} restarts in a row ended before a checkpoint was saved: the run "
                f"stays at step {step}",
                remedy="save more often (checkpointing.everySteps) or use nodes that live longer",
                step=step,
                checkpoint_step=step or None,
            )
        return None

    def tail(self) -> list[Attempt]:
        """The newest attempts for people."""
        return [self.records[n].attempt() for n in sorted(self.records)[-SHOWN:]]

    def accounting(self, world_size: int) -> Accounting:
        """Seconds of ranks in all, and the part spent on steps that were computed again."""
        total = wasted = 0.0
        ordered = [self.records[n] for n in sorted(self.records)]
        for record, follower in zip_longest(ordered, ordered[1:]):
            if record.end is None:
                continue
            seconds = float(record.end.get("seconds") or 0) * (record.world_size or world_size)
            total += seconds
            if follower is None:
                continue
            reached = int(record.end.get("toStep") or 0)
            steps = reached - record.from_step
            repeated = max(0, reached - max(follower.from_step, record.from_step))
            wasted += seconds * (repeated / steps if steps > 0 else 1.0)
        return Accounting(gpu_seconds=round(total), wasted_gpu_seconds=round(wasted))


class LedgerBook:
    """The ledger in the bucket."""

    def __init__(self, agent: StorageAgent, folder: str) -> None:
        self.ledger = Ledger()
        self._agent = agent
        self._folder = folder
        self._own = 0

    @property
    def own(self) -> int:
        """Number of the attempt that this index 0 has opened last; 0 before the first."""
        return self._own

    async def load(self) -> None:
        """Read all attempts."""
        documents = await self._agent.insist("read_documents", uri=self._folder)
        self.ledger = Ledger.of(documents)

    @property
    def orphan(self) -> Record | None:
        """The newest attempt, when the index 0 that led it was lost with it."""
        newest = self.ledger.records.get(self.ledger.last)
        if newest is None or newest.number == self._own or not newest.orphaned:
            return None
        return newest

    async def end_orphan(self, traces: Iterable[Trace]) -> None:
        """End the orphan by the latest signs of life; again when later ones come to light."""
        orphan = self.orphan
        if orphan is None:
            return
        known = orphan.end or {}
        own = [trace for trace in traces if trace.attempt == orphan.number]
        seconds = max([float(known.get("seconds") or 0), *(trace.seconds for trace in own)])
        step = max([int(known.get("toStep") or orphan.from_step), *(t.step for t in own)])
        if orphan.end is None or (seconds, step) != (known["seconds"], known["toStep"]):
            await self._write_end(
                orphan, ExitClass.POD_LOST, to_step=step, seconds=seconds,
                message="index 0 was lost", end=orphan.after(seconds),
                pod=next(iter(orphan.pods), None), orphaned=True,
            )  # fmt: skip

    async def begin(self, from_step: int, **facts: Any) -> int:
        """Open the next attempt; another index 0 that has opened it fences this one."""
        await self.fence()
        number = self.ledger.last + 1
        record = Record(
            number, now_text(), from_step, facts.get("pods", []),
            world_size=facts.get("worldSize", 0),
        )  # fmt: skip
        document = {
            "apiVersion": API_VERSION, "number": number, "start": record.start,
            "fromStep": from_step, **facts,
        }  # fmt: skip
        written = await self._agent.insist(
            "write_json", uri=f"{self._folder}{number:04d}.json", document=document, if_absent=True
        )
        if not written:
            raise FencedError(f"another index 0 has opened attempt {number}")
        self.ledger.records[number] = record
        self._own = number
        return number

    async def end(self, number: int, reason: ExitClass, **facts: Any) -> None:
        """Close an attempt of one's own; who finds it closed has been replaced."""
        await self.fence()
        if not await self._write_end(self.ledger.records[number], reason, if_absent=True, **facts):
            raise FencedError(f"another index 0 has ended attempt {number}")

    async def _write_end(
        self, record: Record, reason: ExitClass, *, message: str, to_step: int, seconds: float,
        end: str | None = None, if_absent: bool = False, **facts: Any,
    ) -> bool:  # fmt: skip
        document = {
            "number": record.number, "class": str(reason), "end": end or now_text(),
            "toStep": to_step, "seconds": round(seconds, 1), "message": message,
            **{k: v for k, v in facts.items() if v is not None},
        }  # fmt: skip
        uri = f"{self._folder}{record.number:04d}.end.json"
        written = await self._agent.insist(
            "write_json", uri=uri, document=document, if_absent=if_absent
        )
        if written:
            record.end = document
        return bool(written)

    async def fence(self) -> None:
        """Refuse to go on when a later attempt than one's own exists."""
        names = await self._agent.insist("list", uri=self._folder)
        newest = max((int(n[:4]) for n in names if n[:4].isdigit()), default=0)
        if newest > max(self._own, self.ledger.last):
            raise FencedError(
                f"attempt {newest} exists, this index 0 runs attempt {self._own}: it was replaced",
                "nothing to do: the newer pod carries on",
            )
