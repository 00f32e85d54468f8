"""One pod's part of the gang: it obeys index 0 (its own or another's) and tells what happens here.

Orders (`do`): sync, start, stop, save-stop, save, upload, keep, durable, abort, over. News
(`type`): synced, sync-failed, rank-ended, stopped, event, beat, local, part, part-failed. All are
small JSON objects; bytes go through the bucket.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from finetune_api.errors import JobError
from finetune_api.exits import EXIT_CODES, ExitClass, Failure
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.config import Places, step_folder
from finetune_trainer.gang import failures, host_memory
from finetune_trainer.gang.agent_client import StorageAgent
from finetune_trainer.gang.environment import rank_environment
from finetune_trainer.gang.ranks import Rank, RankSet
from finetune_trainer.gang.settings import Identity, Timing, rank_command
from finetune_trainer.gang.signals import reap_orphans
from finetune_trainer.gang.state import RunState
from finetune_trainer.gang.sync import fetch_inputs, fetch_plan
from finetune_trainer.storage.faults import DamagedObjectError
from finetune_trainer.storage.uris import join

Message = dict[str, Any]
PREEMPTED = EXIT_CODES[ExitClass.PREEMPTED]


class Pod:
    """Ranks, disk and storage agent of this pod."""

    def __init__(
        self, me: Identity, config: JobConfig, places: Places, timing: Timing, state: RunState
    ) -> None:
        self.me = me
        self.config = config
        self.places = places
        self.timing = timing
        self.state = state
        self.agent = StorageAgent(timing.storage_limit)
        self.ranks = RankSet(self._on_event, self._on_exit)
        self.send: Callable[[Message], None] = lambda message: None
        """Where news go: index 0. Replaced whenever the way to it changes."""
        self.epoch = 0
        self.attempt = 0
        self.stopping = False
        self.over: bool | None = None
        """Whether the run is over, and well."""
        self._killed = 0
        """Processes that the kernel had killed for want of memory when the epoch began."""
        self._inputs: asyncio.Task[None] | None = None
        self._sync: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run in the background; kept until it ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def handle(self, message: Message) -> None:
        """Obey one order."""
        match message["do"]:
            case "sync":
                await self._cancel_sync()
                self._sync = self.spawn(self._synchronise(message))
            case "start":
                self._start(message)
            case "stop":
                await self._cancel_sync()
                await self.stop_ranks()
                self.send({"type": "stopped", "epoch": message["epoch"]})
                self.spawn(self._upload_logs())
            case "save-stop":
                self.stopping = True
                self.places.stop_request.touch()
            case "save":
                _write_atomically(self.places.save_request, message["request"])
            case "upload":
                self.spawn(self._upload(message["attempt"], message["step"]))
            case "keep":
                self._prune(set(message["steps"]))
            case "durable":
                self._forget_resumed(message["step"])
            case "abort":
                self._abort(message["rank"])
            case "over":
                self.over = bool(message["ok"])
                await self.stop_ranks()

    def inputs(self) -> "asyncio.Task[None]":
        """The fetch of model and data: begun at once, tried again when it failed."""
        if self._inputs is None or (self._inputs.done() and self._inputs.exception()):
            self._inputs = asyncio.create_task(
                fetch_inputs(self.agent, self.config, self.places, self.state)
            )
        return self._inputs

    async def _cancel_sync(self) -> None:
        if self._sync is not None and not self._sync.done():
            self._sync.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sync

    async def _synchronise(self, message: Message) -> None:
        """Inputs and the resume checkpoint to disk, verified; then tell."""
        epoch, resume = message["epoch"], message["resume"]
        try:
            self.state.stage = Stage.SYNC
            await asyncio.shield(self.inputs())
            await fetch_plan(self.agent, self.config, self.places, message["plan"])
            facts: dict[str, Any] = {}
            if resume is not None:
                target = self.places.resume / step_folder(resume["step"])
                answer = await self.agent.insist(
                    "fetch_checkpoint",
                    uri=resume["uri"],
                    destination=str(target),
                    first_rank=self.me.index * self.config.ranks_per_pod,
                    ranks=self.config.ranks_per_pod,
                    world_size=self.config.world_size,
                    local=str(self.places.checkpoints / step_folder(resume["step"])),
                )
                facts = answer["manifest"]
            self.send({"type": "synced", "epoch": epoch, "facts": facts})
        except JobError as error:
            damaged = isinstance(error, DamagedObjectError) and resume is not None
            self.send({
                "type": "sync-failed", "epoch": epoch, "damaged": damaged,
                "failure": error.failure().to_wire(),
            })  # fmt: skip

    def _start(self, message: Message) -> None:
        """Start this pod's ranks for an epoch, on a disk cleared of abandoned steps."""
        self.epoch, self.attempt = message["epoch"], message["attempt"]
        self.stopping = False
        for folder in (self.places.checkpoints, self.places.control):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        resume = None
        if message["resume"] is not None:
            resume = self.places.resume / step_folder(message["resume"])
        for old in self.places.resume.iterdir():
            if old != resume:
                shutil.rmtree(old, ignore_errors=True)
        per_pod = self.config.ranks_per_pod
        environments = {
            self.me.index * per_pod + local: rank_environment(
                os.environ, self.config, self.places, self.me, local_rank=local,
                attempt=self.attempt, master=message["master"], port=message["port"],
                resume=resume,
            )
            for local in range(per_pod)
        }  # fmt: skip
        self._killed = host_memory.kills()
        logs = self._logs()
        logs.mkdir(parents=True, exist_ok=True)
        self.ranks.start(
            rank_command(os.environ),
            environments,
            lambda number: logs / f"r{number}.log",
        )

    def past(self) -> Message:
        """The newest epoch of this pod: how long its ranks ran, and how far they came."""
        return {"epoch": self.epoch, "seconds": self.ranks.seconds, "step": self.ranks.step}

    async def stop_ranks(self) -> None:
        """End all ranks and whatever they left running."""
        await self.ranks.stop(self.timing.terminate)
        reap_orphans(self._known(), kill=True)

    def _known(self) -> set[int]:
        return {rank.pid for rank in self.ranks.ranks} | {self.agent.pid or 0}

    def _on_event(self, rank: Rank, event: Message) -> None:
        self.state.moved = time.monotonic()
        kind = event["type"]
        if kind == "checkpoint":
            self.state.local_step = int(event["step"])
            self.state.local_bytes = int(event.get("bytes") or 0)
            self.state.local_seconds = float(event.get("seconds") or 0)
            self.send({"type": "local", "attempt": self.attempt, "step": int(event["step"])})
        elif kind == "metrics":
            self.state.on_metrics(event)
        elif kind in ("stage", "best", "artifact", "evaluation", "forgetting"):
            if kind == "stage" and self.over is None:
                with contextlib.suppress(ValueError):
                    self.state.stage = Stage(event["stage"])
            self.send({"type": "event", "event": event, "rank": rank.number})

    def _on_exit(self, rank: Rank) -> None:
        code = rank.code if rank.code is not None else 0
        failure: Failure | None = None
        if rank.done and code == 0:
            outcome = "done"
        elif code == PREEMPTED and (self.stopping or self.places.stop_request.exists()):
            outcome = "preempted"
        else:
            outcome = "failed"
            if rank.failed is not None:
                failure = failures.of_event(rank.number, rank.failed, rank.step)
            elif rank.stalled:
                failure = self._stall_failure(rank)
            else:
                failure = failures.of_exit(
                    rank.number, code, rank.step, rank.output.tail,
                    host_memory=host_memory.kills() > self._killed,
                )  # fmt: skip
        self.send({
            "type": "rank-ended", "epoch": self.epoch, "rank": rank.number, "outcome": outcome,
            "step": rank.step, "code": code, "told": rank.failed is not None,
            "failure": failure.to_wire() if failure else None,
        })  # fmt: skip

    def _stall_failure(self, rank: Rank) -> Failure:
        return Failure(
            exit_class=ExitClass.RANK_FAILED,
            message=f"rank {rank.number} stood still for {rank.silence(time.monotonic()):.0f} s "
            f"after step {rank.step}",
            remedy="the stacks of its threads are in its log",
            rank=rank.number,
            step=rank.step,
        )

    def beat(self) -> Message:
        """This second's heartbeat: each living rank's step, silence, and whether that is too
        long."""
        now = time.monotonic()
        reap_orphans(self._known(), kill=False)
        return {
            "type": "beat",
            "epoch": self.epoch,
            "ranks": {
                str(r.number): [
                    r.step,
                    round(r.silence(now), 1),
                    r.silence(now) > self._patience(r),
                ]
                for r in self.ranks.alive
            },
        }

    def _abort(self, number: int) -> None:
        """End a rank that stands still; faulthandler writes its stacks into the log."""
        for rank in self.ranks.alive:
            if rank.number == number:
                rank.stalled = True
                os.kill(rank.pid, signal.SIGABRT)

    def _patience(self, rank: Rank) -> float:
        if rank.moved is None:
            return self.timing.stall_first
        return max(self.timing.stall_minimum, 10 * rank.longest_pause)

    async def _upload(self, attempt: int, step: int) -> None:
        """Upload from links of its own: ranks remove older folders as they save newer ones."""
        name = step_folder(step)
        uri = join(self.config.spec.output.uri, "checkpoints", f"a{attempt:04d}", name)
        links = self.places.uploading / name
        try:
            _link_tree(self.places.checkpoints / name, links)
            size = await self.agent.call(
                "upload_part", source=str(links), uri=uri + "/", pod=self.me.index,
                attempt=attempt, step=step,
            )  # fmt: skip
            self.send({"type": "part", "attempt": attempt, "step": step, "bytes": size})
        except (JobError, OSError) as error:
            failure = error.failure() if isinstance(error, JobError) else _gone(step, error)
            self.send({
                "type": "part-failed", "attempt": attempt, "step": step,
                "failure": failure.to_wire(),
            })  # fmt: skip
        finally:
            shutil.rmtree(links, ignore_errors=True)

    def _logs(self) -> Path:
        return self.places.logs / f"a{self.attempt:04d}"

    async def _upload_logs(self) -> None:
        """The ranks' output of an epoch that ended, for whoever looks for the cause later."""
        logs = self._logs()
        if self.attempt and any(logs.iterdir()):
            uri = join(self.config.spec.output.uri, "logs", logs.name) + "/"
            with contextlib.suppress(JobError):
                await self.agent.call("upload", source=str(logs), uri=uri)

    def _prune(self, keep: set[int]) -> None:
        """Remove local checkpoints that index 0 needs no more; newer ones than it knows stay."""
        names = {step_folder(step) for step in keep}
        newest = max(names, default="")
        for folder in self.places.checkpoints.glob("step-*"):
            if folder.name not in names and folder.name < newest:
                shutil.rmtree(folder, ignore_errors=True)

    def _forget_resumed(self, step: int) -> None:
        """Remove the checkpoint that the ranks began with: a later one is in the bucket."""
        for folder in self.places.resume.glob("step-*"):
            if folder.name < step_folder(step):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """The supervisor leaves: nothing of it stays behind."""
        self.ranks.kill()
        self.agent.close()
        reap_orphans(self._known(), kill=True)


def _link_tree(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=os.link)


def _gone(step: int, error: OSError) -> Failure:
    return Failure(
        exit_class=ExitClass.STORAGE_LOST,
        message=f"the local checkpoint of step {step} cannot be read: {error}"[:1500],
    )


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.replace(path)
