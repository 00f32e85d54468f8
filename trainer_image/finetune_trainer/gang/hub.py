"""Index 0's side of the gang: who is there, what they tell, and waiting for it to become so.

Every message changes the state below and wakes the one loop that decides (`leader`): decisions
read the state, they never happen inside a message.
"""

import asyncio
import time
from collections.abc import Callable

from finetune_api.errors import JobError
from finetune_api.exits import Failure
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import BestStep, EvaluationResult
from finetune_trainer.gang.finish import Finish
from finetune_trainer.gang.ledger import FencedError, LedgerBook, Trace
from finetune_trainer.gang.members import Epoch, Link, Member, Message, straggler
from finetune_trainer.gang.pod import Pod
from finetune_trainer.gang.retention import Retention
from finetune_trainer.gang.settings import Identity, Timing
from finetune_trainer.gang.state import RunState
from finetune_trainer.gang.sync import plan_facts, run_facts
from finetune_trainer.gang.uploads import Commits
from finetune_trainer.storage.uris import join

FOREVER = float("inf")


class LeaveError(Exception):
    """Index 0 itself has to leave, or lets others go, and nothing of an epoch is to be saved."""


class Hub:
    """The state of the gang as index 0 sees it."""

    def __init__(
        self, me: Identity, config: JobConfig, timing: Timing, pod: Pod, state: RunState
    ) -> None:
        self.me = me
        self.config = config
        self.timing = timing
        self.pod = pod
        self.state = state
        self.members: dict[int, Member] = {}
        self.epoch: Epoch | None = None
        output = config.spec.output.uri
        self._book = LedgerBook(pod.agent, join(output, "attempts") + "/")
        self._retention = Retention(
            pod.agent, self._book, self.checkpoints, config.spec.checkpointing
        )
        self._commits = Commits(
            config.pods, output, pod.agent, self._book, state,
            broadcast=self.broadcast, facts=self._facts,
            committed=lambda: pod.spawn(self._retention.sweep()), limit=timing.storage_limit,
        )  # fmt: skip
        self._finish = Finish(config, pod, state, self._book)
        self._changed = asyncio.Event()
        self._round = 0
        self._plan_number = 1
        self._sync_failure: Message | None = None
        self._saves: set[str] = set()

    @property
    def checkpoints(self) -> str:
        """The folder of all checkpoints."""
        return join(self.config.spec.output.uri, "checkpoints") + "/"

    def broadcast(self, message: Message) -> None:
        """An order to every pod."""
        for member in self.members.values():
            member.link.send(message)

    def on_join(self, index: int, link: Link, info: Message) -> None:
        """A pod has come; under a known index it replaces the one that was there."""
        if int(info["epoch"]) > max(self._book.ledger.last, 0) and self._book.ledger.last:
            self._commits.fatal = FencedError(
                f"pod {index} has already followed another index 0 in epoch {info['epoch']}"
            )
        if index in self.members:
            self.on_lost(index, self.members[index].link)
        past = Trace(int(info["epoch"]), float(info["seconds"]), int(info["step"]))
        self.members[index] = Member(index, link, info["pod"], info["node"], past)
        if self.pod.over is not None:
            link.send({"do": "over", "ok": self.pod.over})
        self._news()

    def on_lost(self, index: int, link: Link) -> None:
        """A connection is gone; an older one of the same pod no longer matters."""
        member = self.members.get(index)
        if member is None or member.link is not link:
            return
        del self.members[index]
        link.close()
        self._commits.on_lost(index)
        if self.epoch is not None:
            self.epoch.on_lost(member)
        self._news()

    def on_message(self, index: int, link: Link, message: Message) -> None:
        """News of a pod."""
        member = self.members.get(index)
        if member is None or member.link is not link:
            return
        member.heard = time.monotonic()
        epoch = self.epoch
        match message["type"]:
            case "beat":
                if epoch is None or message["epoch"] != epoch.number:
                    member.ranks = {}
                    return
                member.ranks = message["ranks"]
                epoch.step = max([epoch.step, *(told[0] for told in member.ranks.values())])
                return
            case "synced" if message["epoch"] == self._round:
                member.synced, member.facts = self._round, message["facts"]
            case "sync-failed" if message["epoch"] == self._round:
                self._sync_failure = message
            case "rank-ended" if epoch is not None and message["epoch"] == epoch.number:
                epoch.on_rank_ended(member, message)
            case "stopped":
                member.stopped = message["epoch"]
            case "local":
                self._commits.on_local(index, (message["attempt"], message["step"]))
            case "part":
                self._commits.on_part(index, (message["attempt"], message["step"]))
            case "part-failed":
                failure = Failure.model_validate(message["failure"])
                self._commits.on_failed(
                    (message["attempt"], message["step"]), JobError(failure.message, failure.remedy)
                )
            case "leaving":
                member.leaves_by = time.monotonic() + float(message["seconds"])
            case "save-asked":
                self.save(message["request"])
            case "event" if index == 0:
                self._on_event(message["event"])
        self._news()

    def _on_event(self, event: Message) -> None:
        if event["type"] == "evaluation":
            self.state.evaluation = [EvaluationResult.model_validate(r) for r in event["results"]]
        elif event["type"] == "forgetting":
            self.state.forgetting = [EvaluationResult.model_validate(r) for r in event["results"]]
        elif event["type"] == "best":
            self.state.best = BestStep(step=event["step"], loss=f"{event['loss']:.6g}")
        elif event["type"] == "artifact":
            self._finish.on_artifact(event["name"], event["path"])

    def save(self, request: str) -> None:
        """Save at the next agreed step; the same request twice is one."""
        if request not in self._saves and self.epoch is not None:
            self._saves.add(request)
            self.broadcast({"do": "save", "request": request})

    def leave(self, seconds: float) -> None:
        """This pod got SIGTERM."""
        if 0 in self.members:
            self.members[0].leaves_by = time.monotonic() + seconds
        self._news()

    def tick(self) -> None:
        """Every second: own heartbeat, everyone's silence."""
        self.on_message(0, self.members[0].link, self.pod.beat())
        self.broadcast({"do": "ping"})
        now = time.monotonic()
        for member in list(self.members.values()):
            if member.index and now - member.heard > self.timing.lost_after:
                self.on_lost(member.index, member.link)
        self.state.pods_joined = len(self.members)
        self._look_for_stall()
        self._news()

    def _look_for_stall(self) -> None:
        """End the rank that the others wait for, once an epoch."""
        epoch = self.epoch
        if epoch is None or epoch.aborted or epoch.seen:
            return
        if found := straggler(self.members.values()):
            member, rank = found
            epoch.aborted = True
            member.link.send({"do": "abort", "rank": rank})

    def _news(self) -> None:
        self._changed.set()

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait for the gang's state; False when time ran out."""
        deadline = time.monotonic() + seconds
        while not done():
            if self.epoch is None and self._leaving():
                raise LeaveError
            if self.epoch is None and self._commits.fatal:
                raise self._commits.fatal
            if time.monotonic() > deadline:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def _leaving(self) -> list[Member]:
        return [m for m in self.members.values() if m.leaves_by is not None]

    def _deadline(self) -> float:
        """Seconds that the first leaving pod has left."""
        first = min((m.leaves_by or FOREVER for m in self._leaving()), default=FOREVER)
        return max(0.0, first - time.monotonic() - self.timing.grace_margin)

    def _facts(self, step: int) -> dict[str, object]:
        """What the manifest of a step says beyond its files."""
        point = self.state.points.get(step)
        loss = point.eval_loss if point is not None else None
        return {
            **plan_facts(self.pod.places),
            "run": run_facts(self.config, self.pod.places),
            "worldSize": self.config.world_size,
            "fingerprint": self.config.fingerprint,
            **({"evalLoss": loss} if loss is not None else {}),
            "series": [p.to_wire() for p in self.state.report().series],
        }
