"""The rank processes of one pod: start, listen, notice their end, stop them.

Each rank leads its own session, so a stop reaches everything it started. None outlives the
supervisor, even when that is killed.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_trainer.gang.lines import Output, Splitter, read_available
from finetune_trainer.gang.signals import die_with_parent, kill_group

OnEvent = Callable[["Rank", dict[str, Any]], None]
OnExit = Callable[["Rank"], None]


class Rank:
    """One rank process and what it has told so far."""

    def __init__(self, number: int, on_event: OnEvent, on_exit: OnExit) -> None:
        self.number = number
        self.pid = 0
        self.code: int | None = None
        self.step = 0
        self.started = time.monotonic()
        self.ended: float | None = None
        self.moved: float | None = None
        """When the last event came; None before the first."""
        self.longest_pause = 0.0
        self.failed: dict[str, Any] | None = None
        self.done = False
        self.stalled = False
        self._on_event = on_event
        self._on_exit = on_exit
        self._open: dict[int, Splitter] = {}

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start the process with a pipe for its events."""
        loop = asyncio.get_running_loop()
        self.output = Output(f"[r{self.number}]", log)
        read_end, write_end = os.pipe()
        try:
            self.process = subprocess.Popen(
                command,
                env={**environment, "FINETUNE_EVENTS_FD": str(write_end)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(write_end,),
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),
            )
        finally:
            os.close(write_end)
        self.pid = self.process.pid
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._listen(self.process.stdout.fileno(), lambda b: self.output.line(b, error=False))
        self._listen(self.process.stderr.fileno(), lambda b: self.output.line(b, error=True))
        self._listen(read_end, self._event)
        self._events = read_end
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._ended)

    def _listen(self, fd: int, on_line: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._open[fd] = Splitter(on_line)
        asyncio.get_running_loop().add_reader(fd, self._readable, fd)

    def _readable(self, fd: int) -> None:
        if not read_available(fd, self._open[fd]):
            asyncio.get_running_loop().remove_reader(fd)

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["type"]
        except (ValueError, KeyError, TypeError):
            return
        now = time.monotonic()
        if self.moved is not None:
            self.longest_pause = max(self.longest_pause, now - self.moved)
        self.moved = now
        if isinstance(event.get("step"), int):
            self.step = max(self.step, event["step"])
        if kind == "failed":
            self.failed = self.failed or event
        elif kind == "done":
            self.done = True
        self._on_event(self, event)

    def _ended(self) -> None:
        """The process is gone: read what it left in its pipes, then tell."""
        self.code = self.process.wait()
        self.ended = time.monotonic()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        for fd, splitter in self._open.items():
            loop.remove_reader(fd)
            read_available(fd, splitter)
            splitter.end()
        os.close(self._events)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        self.output.close()
        kill_group(self.pid, signal.SIGKILL)  # its own children
        self._on_exit(self)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.pid != 0 and self.code is None

    def silence(self, now: float) -> float:
        """Seconds since it last told anything."""
        return now - (self.moved if self.moved is not None else self.started)


class RankSet:
    """The ranks of one pod in one epoch."""

    def __init__(self, on_event: OnEvent, on_exit: OnExit) -> None:
        self.ranks: list[Rank] = []
        self._on_event = on_event
        self._on_exit = on_exit

    def start(
        self,
        command: Sequence[str],
        environments: Mapping[int, Mapping[str, str]],
        log_of: Callable[[int], Path],
    ) -> None:
        """Start all ranks of this pod; ``environments`` by rank number."""
        self.ranks = []
        for number, environment in environments.items():
            rank = Rank(number, self._on_event, self._on_exit)
            self.ranks.append(rank)
            rank.start(command, environment, log_of(number))

    @property
    def alive(self) -> list[Rank]:
        """Ranks that still run."""
        return [rank for rank in self.ranks if rank.alive]

    @property
    def seconds(self) -> float:
        """How long they have run, to the end of the last."""
        now = time.monotonic()
        return max([0.0, *((rank.ended or now) - rank.started for rank in self.ranks)])

    @property
    def step(self) -> int:
        """The furthest that one of them has come."""
        return max([0, *(rank.step for rank in self.ranks)])

    async def stop(self, seconds: float) -> None:
        """End all: SIGTERM, and SIGKILL after ``seconds``; returns when none is left."""
        for rank in self.alive:
            kill_group(rank.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.alive and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for rank in self.alive:
            kill_group(rank.pid, signal.SIGKILL)
        while self.alive:
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL without waiting: the supervisor itself is about to end."""
        for rank in self.alive:
            with contextlib.suppress(OSError):
                kill_group(rank.pid, signal.SIGKILL)
