"""The supervisor's side of the storage agent: starts it, sends calls, restarts it when it died."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from finetune_api.errors import DataError, JobError, StorageError, UserError
from finetune_api.exits import ExitClass
from finetune_trainer.gang.signals import die_with_parent
from finetune_trainer.storage.faults import DamagedObjectError, RefusedError, UnreachableError

LINE_LIMIT = 64 << 20
_KINDS: dict[str, type[JobError]] = {
    "damaged": DamagedObjectError,
    "unreachable": UnreachableError,
    "refused": RefusedError,
    str(ExitClass.USER_ERROR): UserError,
    str(ExitClass.DATA_ERROR): DataError,
    str(ExitClass.STORAGE_LOST): StorageError,
}
Progress = Callable[[int, int], None]


def _error(wire: dict[str, Any]) -> JobError:
    kind = _KINDS.get(wire.get("kind") or wire["class"], JobError)
    return kind(wire["message"], wire.get("remedy", ""))


class StorageAgent:
    """Calls by name; each gives its result or raises the agent's sentence."""

    def __init__(self, patience: float) -> None:
        """``patience``: seconds that a call insists for."""
        self._patience = patience
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[Any], Progress | None]] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process of the agent."""
        return self.process.pid if self.process else None

    async def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "finetune_trainer", "storage-agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self.process.stdout
        )
        self._reader = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            answer = json.loads(line)
            future, progress = self._waiting.get(answer["id"], (None, None))
            if future is None or future.done():
                self._waiting.pop(answer["id"], None)
            elif "progress" in answer:
                if progress:
                    progress(*answer["progress"])
            elif "error" in answer:
                self._waiting.pop(answer["id"])
                future.set_exception(_error(answer["error"]))
            else:
                self._waiting.pop(answer["id"])
                future.set_result(answer["result"])
        self.close()

    async def call(self, op: str, *, progress: Progress | None = None, **args: Any) -> Any:
        """One call; a dead agent is started anew."""
        if self.process is None:
            await self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (future, progress)
        try:
            line = json.dumps({"id": number, "op": op, "args": args})
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            self.close()
        return await future

    async def insist(self, op: str, *, progress: Progress | None = None, **args: Any) -> Any:
        """`call` for what the run cannot go on without: again and again while the storage is away
        or refuses, StorageError when that lasts longer than the patience."""
        begin, delay = time.monotonic(), 0.25
        while True:
            try:
                return await self.call(op, progress=progress, **args)
            except DamagedObjectError:
                raise
            except (StorageError, UnreachableError, RefusedError) as error:
                waited = time.monotonic() - begin
                if waited + delay > self._patience:
                    raise StorageError(
                        f"the storage did not serve this run for {waited:.0f} s: {error.message}",
                        error.remedy,
                    ) from error
                print(f"storage, tried again in {delay:.0f} s: {error}", flush=True)  # noqa: T201
            await asyncio.sleep(delay)
            delay = min(2 * delay, 30.0)

    def close(self) -> None:
        """End the agent; calls that wait fail."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(
                    StorageError("the storage agent ended in the middle of a call", "see the log")
                )
