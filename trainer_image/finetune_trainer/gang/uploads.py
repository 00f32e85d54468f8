"""Durable checkpoints: which step is uploaded next, and when its manifest may be written.

Index 0 decides for all pods, so that they always work on the same step: the newest that every
pod has on its disk. Steps that are overtaken while another upload runs are dropped. A step exists
for a later resume only when its manifest, written last, does.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from finetune_api.errors import JobError, StorageError
from finetune_api.progress import Checkpoint
from finetune_trainer.config import step_folder
from finetune_trainer.gang.agent_client import StorageAgent
from finetune_trainer.gang.ledger import FencedError, LedgerBook, now_text
from finetune_trainer.gang.state import RunState
from finetune_trainer.storage.uris import join

Step = tuple[int, int]
"""Attempt and step."""


class Commits:
    """Index 0's view of steps on their way to the bucket."""

    def __init__(
        self,
        pods: int,
        output: str,
        agent: StorageAgent,
        book: LedgerBook,
        state: RunState,
        *,
        broadcast: Callable[[dict[str, Any]], None],
        facts: Callable[[int], dict[str, Any]],
        committed: Callable[[], object],
        limit: float,
    ) -> None:
        self._pods = pods
        self._output = output
        self._agent = agent
        self._book = book
        self._state = state
        self._broadcast = broadcast
        self._facts = facts
        self._committed = committed
        self._limit = limit
        self._local: dict[Step, set[int]] = {}
        self._current: Step | None = None
        self._parts: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._commit: asyncio.Task[None] | None = None
        self.fatal: JobError | None = None
        """Fenced, or failing for longer than the limit: the run cannot go on."""

    def folder(self, step: Step) -> str:
        """A step's folder in the bucket."""
        return join(self._output, "checkpoints", f"a{step[0]:04d}", step_folder(step[1])) + "/"

    def on_local(self, pod: int, step: Step) -> None:
        """A pod has a step complete on its disk."""
        self._local.setdefault(step, set()).add(pod)
        self._next()

    def on_part(self, pod: int, step: Step) -> None:
        """A pod has uploaded and verified its part."""
        if step != self._current:
            return
        self._parts.add(pod)
        if len(self._parts) == self._pods and self._commit is None:
            self._commit = asyncio.create_task(self._write_manifest(step))

    def on_failed(self, step: Step, error: JobError) -> None:
        """An upload failed: the run goes on with an older durable step, up to a limit."""
        if step != self._current:
            return
        now = time.monotonic()
        since = self._state.upload_failing_since or now
        self._state.upload_failing_since = since
        if now - since > self._limit:
            self.fatal = StorageError(
                f"no checkpoint could be stored for {now - since:.0f} s: {error.message}",
                error.remedy,
            )
        self._local.pop(step, None)
        self._release()

    def on_lost(self, pod: int) -> None:
        """A pod is gone, and its disk: parts it had not uploaded will not come."""
        self._local = {s: pods for s, pods in self._local.items() if pod not in pods}
        if self._current is not None and pod not in self._parts:
            self._release()

    def forget(self) -> None:
        """A new attempt starts: local steps of older ones are removed by the pods."""
        self._local.clear()
        if self._commit is None:
            self._release()

    def _release(self) -> None:
        self._current, self._parts, self._commit = None, set(), None
        self._next()

    def _next(self) -> None:
        if self._current is not None:
            return
        complete = [s for s, pods in self._local.items() if len(pods) == self._pods]
        if not complete:
            self._idle.set()
            return
        newest = max(complete)
        self._local = {s: pods for s, pods in self._local.items() if s >= newest}
        self._current, self._parts = newest, set()
        self._idle.clear()
        self._broadcast({"do": "keep", "steps": [newest[1]]})
        self._broadcast({"do": "upload", "attempt": newest[0], "step": newest[1]})

    async def _write_manifest(self, step: Step) -> None:
        try:
            await self._book.fence()
            size = await self._agent.call(
                "commit", uri=self.folder(step), pods=self._pods, attempt=step[0], step=step[1],
                facts={**self._facts(step[1]), "savedAt": now_text()},
            )  # fmt: skip
            self._state.durable = Checkpoint(
                step=step[1], uri=self.folder(step), bytes=size, saved_at=now_text()
            )
            self._state.upload_failing_since = None
            self._local.pop(step, None)
            self._broadcast({"do": "durable", "step": step[1]})
            self._release()
            self._committed()
        except FencedError as error:
            self.fatal = error
            self._idle.set()
        except JobError as error:
            self.on_failed(step, error)

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing is on its way; False when time ran out."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True
