"""Index 0: gathers the gang, opens epochs, decides how each ended, and finishes the run.

One loop: gather all pods, choose the checkpoint, have everyone fetch it, open an attempt in the
ledger, start the ranks, wait; then stop what is left and go round again, finish, or give up.
"""

import asyncio
import socket
import time
import traceback

from finetune_api.errors import JobError
from finetune_api.exits import EXIT_CODES, FINAL_CODES, ExitClass, Failure
from finetune_api.progress import Checkpoint, Stage
from finetune_trainer.config import plan_name
from finetune_trainer.gang.failures import FINAL_AT_ONCE, Seen, cause, patience
from finetune_trainer.gang.finish import final_uri
from finetune_trainer.gang.hub import FOREVER, Hub, LeaveError
from finetune_trainer.gang.ledger import FencedError, Trace
from finetune_trainer.gang.members import Epoch, Member, Message, Outcome
from finetune_trainer.gang.pod import Pod
from finetune_trainer.gang.rollback import ROLLBACKS, may_roll_back, revised, rollbacks
from finetune_trainer.gang.smaller import SHRUNK, shortages, shrunk, smaller
from finetune_trainer.storage.manifest import MANIFEST, QUARANTINE, Candidate, Listing, resume_order
from finetune_trainer.storage.uris import join

BACK = {
    ExitClass.NON_FINITE: "; back to the last checkpoint with a smaller learning rate",
    ExitClass.OUT_OF_MEMORY: "; on from the last checkpoint with a smaller plan",
}
FREE = EXIT_CODES[ExitClass.PREEMPTED]


class LocalLink:
    """The way of index 0 to its own pod."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    def send(self, message: Message) -> None:
        """Obey at once."""
        self._pod.spawn(self._pod.handle(message))

    def close(self) -> None:
        """A supervisor cannot lose itself."""


class Leader(Hub):
    """The leading supervisor's decisions."""

    async def run(self) -> Outcome:
        """The whole run; gives how this pod leaves."""
        link = LocalLink(self.pod)
        self.members[0] = Member(0, link, self.me.pod, self.me.node, Trace(0, 0.0, 0))
        self.pod.send = lambda message: self.on_message(0, link, message)
        beat = asyncio.create_task(self._beat())
        try:
            return await self._run()
        except JobError as error:
            return self._failed(error.failure())
        finally:
            beat.cancel()
            self.pod.send = lambda message: None

    async def _beat(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:  # a heartbeat must not end because of what it carries
                traceback.print_exc()
            await asyncio.sleep(self.timing.heartbeat)

    async def _run(self) -> Outcome:
        output = self.config.spec.output.uri
        final = await self.pod.agent.insist("read_json", uri=final_uri(output))
        if final is not None:
            return await self._finished_before(str(final.get("finishedAt", "")))
        self.pod.inputs().add_done_callback(lambda task: task.cancelled() or task.exception())
        await self._book.load()
        self.state.ledger = self._book.ledger
        await self.pod.agent.insist("abort_stale_uploads", uri=join(output, ""))
        while True:
            try:
                outcome = await self._round_trip()
            except LeaveError:
                outcome = self._release()
            if outcome is not None:
                return outcome

    async def _finished_before(self, when: str) -> Outcome:
        """Nothing is left to do: what came out is told again."""
        print(f"this run finished at {when}: nothing to do", flush=True)  # noqa: T201
        uri = join(self.config.spec.output.uri, "report", "report.json")
        self.state.recall(await self.pod.agent.insist("read_json", uri=uri) or {}, when)
        return self._over(Outcome(0))

    async def _round_trip(self) -> Outcome | None:
        """One epoch, from gathering to its end; None when another one is to follow."""
        candidates = await self._candidates()
        step = candidates[0].step if candidates else 0
        await self._end_orphan(candidates)
        if failure := self._book.ledger.verdict(self.config.spec.retries.max_attempts, step):
            return self._failed(failure)
        await self._gather()
        await self._book.end_orphan(member.past for member in self.members.values())
        resume = candidates[0] if candidates else None
        if not await self._synchronise(resume):
            return None
        await self._start(resume)
        assert self.epoch is not None
        end = await self._watch(self.epoch)
        return await self._settle(self.epoch, end)

    async def _candidates(self) -> list[Candidate]:
        keys = await self.pod.agent.insist("list", uri=self.checkpoints)
        return resume_order(Listing.of(keys), self._book.ledger.from_steps())

    async def _end_orphan(self, candidates: list[Candidate]) -> None:
        """End an attempt that was lost with its index 0, at what its newest checkpoint proves;
        pods that outlived it may know of more when they are back."""
        orphan = self._book.orphan
        if orphan is None:
            return
        newest = next((c for c in candidates if c.attempt == orphan.number), None)
        trace = None
        if newest is not None:
            uri = join(self.checkpoints, newest.folder, MANIFEST)
            manifest = await self.pod.agent.insist("read_json", uri=uri) or {}
            trace = Trace.of_checkpoint(orphan, newest.step, manifest.get("savedAt", ""))
        await self._book.end_orphan([trace] if trace else [])

    async def _gather(self) -> None:
        self.state.stage = Stage.WAITING
        pods = self.config.pods
        if not await self._until(lambda: len(self.members) == pods, self.timing.join):
            raise JobError(
                f"only {len(self.members)} of {pods} pods joined within {self.timing.join:.0f} s",
                "see the events of the missing pods",
            )

    async def _synchronise(self, resume: Candidate | None) -> bool:
        """All pods fetch inputs and checkpoint; False when the gang changed or it is damaged."""
        self._round += 1
        self._sync_failure = None
        target = None
        if resume is not None:
            target = {"step": resume.step, "uri": self.checkpoints + resume.folder}
        self._plan_number = await self._plan()
        self.broadcast({
            "do": "sync", "epoch": self._round, "resume": target, "plan": self._plan_number,
        })  # fmt: skip
        pods = self.config.pods
        await self._until(
            lambda: (
                len(self.members) < pods
                or self._sync_failure is not None
                or all(m.synced == self._round for m in self.members.values())
            ),
            FOREVER,
        )
        if self._sync_failure is not None:
            failure = Failure.model_validate(self._sync_failure["failure"])
            if not (self._sync_failure["damaged"] and target):
                error = JobError(failure.message, failure.remedy)
                error.exit_class = failure.exit_class
                raise error
            uri = target["uri"] + QUARANTINE
            await self.pod.agent.insist("write_json", uri=uri, document=failure.to_wire())
            return False
        if len(self.members) < pods or any(m.synced != self._round for m in self.members.values()):
            return False
        self._restore(resume, self.members[0].facts)
        return True

    async def _plan(self) -> int:
        """Number of the plan in force, the newest; after a rollback or a shortage of memory it is
        revised before anyone reads it."""
        output, agent, ledger = self.config.spec.output.uri, self.pod.agent, self._book.ledger
        number, plan = await agent.insist("newest_plan", uri=output)
        made = dict(plan)
        if (times := rollbacks(ledger)) > made.get(ROLLBACKS, 0):
            made = revised(made, times)
        if (times := shortages(ledger)) > made.get(SHRUNK, 0):
            made = shrunk(made, times)
        if plan and made != plan:
            number += 1
            uri = join(output, plan_name(number))
            await agent.insist("write_json", uri=uri, document=made)
        return int(max(1, number))

    async def _may_go_on(self, reason: ExitClass) -> bool:
        """Can another plan mend what ended an epoch?"""
        if reason is ExitClass.NON_FINITE:
            return may_roll_back(self.config.spec.training.non_finite, self._book.ledger)
        if reason is ExitClass.OUT_OF_MEMORY:
            _, plan = await self.pod.agent.insist("newest_plan", uri=self.config.spec.output.uri)
            return smaller(plan) is not None
        return False

    def _restore(self, resume: Candidate | None, facts: Message) -> None:
        self.state.restore(resume.step if resume else 0, facts.get("series", []))
        if resume is not None:
            self.state.durable = Checkpoint(
                step=resume.step, uri=self.checkpoints + resume.folder,
                bytes=facts.get("bytes", 0), saved_at=facts.get("savedAt", ""),
            )  # fmt: skip

    async def _start(self, resume: Candidate | None) -> None:
        step = resume.step if resume else 0
        config = self.config
        number = await self._book.begin(
            step, pods=[self.members[i].pod for i in sorted(self.members)],
            worldSize=config.world_size, plan=self._plan_number,
        )  # fmt: skip
        self._commits.forget()
        self._saves.clear()
        self.state.attempt = number
        self.epoch = Epoch(number, config.world_size, step, step=step)
        missing = config.pods - len(self.members)
        self.broadcast({
            "do": "start", "epoch": number, "attempt": number, "master": self.me.ip,
            "port": _free_port(), "resume": resume.step if resume else None,
        })  # fmt: skip
        if missing:  # lost while the ledger was written
            gone = next(i for i in range(config.pods) if i not in self.members)
            self.epoch.on_lost(Member(gone, self.members[0].link, f"index {gone}", ""))

    async def _watch(self, epoch: Epoch) -> Seen | None:
        """Wait for the epoch's end; the cause when it failed, None when done or asked to stop."""
        commits = self._commits
        await self._until(
            lambda: bool(epoch.seen or epoch.finished or self._leaving() or commits.fatal), FOREVER
        )
        if commits.fatal:
            return Seen(time.monotonic(), commits.fatal.failure(), told=True, pod=0)
        if self._leaving() and not epoch.finished:
            self.broadcast({"do": "save-stop"})
            await self._until(lambda: bool(epoch.ended or epoch.seen), self._deadline())
            return None
        if epoch.finished:
            return None
        first = epoch.seen[0].at
        timing = self.timing
        while time.monotonic() - first < patience(epoch.seen, timing.collect, timing.lost_after):
            await asyncio.sleep(0.05)
        return cause(epoch.seen)

    async def _settle(self, epoch: Epoch, end: Seen | None) -> Outcome | None:
        """Stop what is left, make durable what is saved, write the ledger, decide what follows."""
        seconds = time.monotonic() - epoch.started
        preempted = end is None and not epoch.finished
        self.broadcast({"do": "stop", "epoch": epoch.number})
        await self._until(
            lambda: all(m.stopped == epoch.number for m in self.members.values()),
            self.timing.stop,
        )
        for member in [m for m in self.members.values() if m.stopped != epoch.number]:
            self.on_lost(member.index, member.link)
        drained = False
        if not self._commits.fatal:
            drained = await self._commits.drain(min(self.timing.drain, self._deadline()))
        self.epoch = None
        if isinstance(self._commits.fatal, FencedError):
            raise self._commits.fatal
        reason, failure = _reason(end, preempted)
        goes_on = await self._may_go_on(reason)
        pods = {i: m for i, m in self.members.items() if end and i == end.pod}
        where = pods.get(end.pod) if end else None
        await self._book.end(
            epoch.number, reason, to_step=epoch.step, seconds=seconds,
            message=(failure.message if failure else "") + (BACK[reason] if goes_on else ""),
            remedy=failure.remedy if failure else None,
            rank=failure.rank if failure else None,
            pod=where.pod if where else None, node=where.node if where else None,
            exitCode=end.exit_code if end else None,
        )  # fmt: skip
        if reason is ExitClass.COMPLETED:
            await self._retention.sweep(at_the_end=drained)
            await self._finish.run()
            return self._over(Outcome(0))
        if reason is ExitClass.GATE_NOT_MET:
            await self._finish.store_report()
        if failure is not None and reason in FINAL_AT_ONCE and not goes_on:
            return self._failed(failure)
        if reason is ExitClass.HARDWARE_FAULT and end is not None:
            if end.pod == 0:
                return Outcome(EXIT_CODES[reason], failure)
            if where is not None:
                where.link.send({"do": "leave", "failure": end.failure.to_wire()})
        return self._release() if preempted or self._leaving() else None

    def _release(self) -> Outcome | None:
        """Let the pods go that have to; None when this one stays."""
        for member in self._leaving():
            member.link.send({"do": "release"})
            if member.index == 0:
                return Outcome(FREE)
            self.on_lost(member.index, member.link)
        return None

    def _failed(self, failure: Failure) -> Outcome:
        durable = self.state.durable
        if durable is not None and failure.checkpoint_step is None:
            failure = failure.model_copy(update={"checkpoint_step": durable.step})
        self.state.failure = failure
        outcome = Outcome(failure.code, failure)
        # Fenced, or broken by itself: the peers go on with the next index 0.
        return self._over(outcome) if failure.code in FINAL_CODES else outcome

    def _over(self, outcome: Outcome) -> Outcome:
        self.broadcast({"do": "over", "ok": outcome.code == 0})
        return outcome


def _reason(end: Seen | None, preempted: bool) -> tuple[ExitClass, Failure | None]:
    if end is not None:
        return end.failure.exit_class, end.failure
    return (ExitClass.PREEMPTED if preempted else ExitClass.COMPLETED), None


def _free_port() -> int:
    """A free port on all interfaces: torch's store listens on all whatever it is told."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
