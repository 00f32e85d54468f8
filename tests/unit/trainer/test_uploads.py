"""The queue of checkpoints on their way to the bucket: one at a time, newest first."""

import asyncio
from typing import Any

from finetune_api.errors import StorageError
from finetune_trainer.gang.state import RunState
from finetune_trainer.gang.uploads import Commits


class Gang:
    """Index 0's uploads with a storage agent and a ledger that do what they are told."""

    def __init__(self, pods: int = 2, limit: float = 60) -> None:
        self.orders: list[dict[str, Any]] = []
        self.swept = 0
        self.broken = False
        self.state = RunState(pods=pods, world_size=pods)
        self.commits = Commits(
            pods, "s3://b/run/", self, self, self.state, broadcast=self.orders.append,  # type: ignore[arg-type]
            facts=lambda step: {}, committed=self._sweep, limit=limit,
        )  # fmt: skip

    def _sweep(self) -> None:
        self.swept += 1

    async def fence(self) -> None:
        """Nobody has replaced this index 0."""

    async def call(self, op: str, **arguments: Any) -> int:
        assert op == "commit"
        if self.broken:
            raise StorageError("full")
        return 7

    def local(self, *steps: int) -> None:
        for step in steps:
            for pod in (0, 1):
                self.commits.on_local(pod, (1, step))

    async def parts(self, step: int) -> None:
        for pod in (0, 1):
            self.commits.on_part(pod, (1, step))
        await asyncio.sleep(0.01)

    @property
    def uploads(self) -> list[int]:
        return [order["step"] for order in self.orders if order["do"] == "upload"]

    @property
    def durable(self) -> int:
        return self.state.durable.step if self.state.durable else 0


def test_what_is_overtaken_while_another_is_stored_is_never_stored() -> None:
    async def run() -> None:
        gang = Gang()
        gang.local(5, 10, 15, 20)
        assert gang.uploads == [5]
        await gang.parts(5)
        assert (gang.uploads, gang.durable, gang.swept) == ([5, 20], 5, 1)
        gang.local(25)
        assert gang.uploads == [5, 20]
        await gang.parts(10)
        assert gang.durable == 5
        await gang.parts(20)
        await gang.parts(25)
        assert (gang.uploads, gang.durable) == ([5, 20, 25], 25)
        assert await gang.commits.drain(1)

    asyncio.run(run())


def test_a_step_that_one_pod_lacks_waits() -> None:
    async def run() -> None:
        gang = Gang()
        gang.commits.on_local(0, (1, 5))
        assert gang.uploads == []
        gang.commits.on_local(1, (1, 5))
        assert gang.uploads == [5]
        assert not await gang.commits.drain(0.01)

    asyncio.run(run())


def test_a_failed_upload_leaves_the_older_step_and_ends_the_run_at_the_limit() -> None:
    async def run() -> None:
        gang = Gang(limit=0.05)
        gang.local(5)
        await gang.parts(5)
        gang.broken = True
        gang.local(10)
        await gang.parts(10)
        assert (gang.durable, gang.commits.fatal) == (5, None)
        await asyncio.sleep(0.06)
        gang.local(15)
        await gang.parts(15)
        assert gang.durable == 5
        assert gang.commits.fatal is not None
        assert "no checkpoint could be stored for 0 s: full" in gang.commits.fatal.message

    asyncio.run(run())
