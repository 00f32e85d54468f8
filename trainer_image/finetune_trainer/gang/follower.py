"""Every pod but index 0: join, obey, and when index 0 is lost stop the ranks and join the next."""

import asyncio
import contextlib
import time

from finetune_api.errors import JobError
from finetune_api.exits import EXIT_CODES, ExitClass, Failure
from finetune_trainer.gang.finish import final_uri
from finetune_trainer.gang.members import Link, Message, Outcome
from finetune_trainer.gang.peers import follow, open_session
from finetune_trainer.gang.pod import Pod
from finetune_trainer.gang.settings import Identity, Timing

FREE = EXIT_CODES[ExitClass.PREEMPTED]
RETRY_SECONDS = 0.5
FINAL_LOOK_SECONDS = 3.0


class Follower:
    """The supervisor of a pod that does not lead."""

    def __init__(self, me: Identity, timing: Timing, pod: Pod) -> None:
        self.me = me
        self.timing = timing
        self.pod = pod
        self._link: Link | None = None
        self._leave: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._leaves_by: float | None = None

    async def run(self) -> Outcome:
        """Until told to leave; success is never claimed before SIGTERM: a finished index is never
        made again."""
        self.pod.inputs().add_done_callback(lambda task: task.cancelled() or task.exception())
        following = asyncio.create_task(self._follow())
        beat = asyncio.create_task(self._beat())
        try:
            done, _ = await asyncio.wait(
                {following, self._leave}, return_when=asyncio.FIRST_COMPLETED
            )
            return next(iter(done)).result()
        finally:
            beat.cancel()
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, JobError):
                await following

    async def _follow(self) -> Outcome:
        """Join again and again; gives up when no index 0 comes for too long."""
        async with open_session() as session:
            last = time.monotonic()
            while self.pod.over is None:
                met = await follow(
                    self.me, self.timing, session, told=self.pod.past(),
                    on_joined=self._joined, on_message=self._order,
                )  # fmt: skip
                self._link = None
                self.pod.send = lambda message: None
                if met:
                    last = time.monotonic()
                    if self.pod.over is None:
                        await self.pod.stop_ranks()
                elif time.monotonic() - last > self.timing.join:
                    raise JobError(
                        f"index 0 at {self.me.hosts[0]} was not met for {self.timing.join:.0f} s",
                        "see the events of its pod",
                    )
                if self._leaves_by is not None and self.pod.over is None:
                    return Outcome(await self._last_look())
                await asyncio.sleep(RETRY_SECONDS)
        await asyncio.Event().wait()  # the exit barrier: only SIGTERM ends a peer
        raise AssertionError

    def _joined(self, link: Link) -> None:
        self._link = link
        self.pod.send = link.send
        if self._leaves_by is not None:
            self.leave(self._leaves_by - time.monotonic())

    def _order(self, message: Message) -> None:
        match message["do"]:
            case "release":
                self._end(Outcome(FREE))
            case "leave":
                failure = Failure.model_validate(message["failure"])
                self._end(Outcome(failure.code, failure))
            case "start" if message["epoch"] <= self.pod.epoch:
                if self._link is not None:  # an order of a zombie
                    self._link.close()
            case _:
                self.pod.spawn(self.pod.handle(message))

    def _end(self, outcome: Outcome) -> None:
        if not self._leave.done():
            self._leave.set_result(outcome)

    def leave(self, seconds: float) -> None:
        """This pod got SIGTERM: index 0 has everyone save first; without index 0 there is nothing
        to wait for."""
        self._leaves_by = time.monotonic() + seconds
        if self.pod.over is not None:
            self._end(Outcome(0 if self.pod.over else FREE))
        elif self._link is not None:
            self._link.send({"type": "leaving", "seconds": seconds})
        else:
            self.pod.spawn(self._leave_alone())

    async def _leave_alone(self) -> None:
        self._end(Outcome(await self._last_look()))

    async def _last_look(self) -> int:
        """0 when the run is complete: then this SIGTERM is the Job's success policy."""
        uri = final_uri(self.pod.config.spec.output.uri)
        with contextlib.suppress(JobError, TimeoutError):
            call = self.pod.agent.call("read_json", uri=uri)
            if await asyncio.wait_for(call, FINAL_LOOK_SECONDS) is not None:
                return 0
        return FREE

    def save(self, request: str) -> None:
        """Ask index 0 to have everyone save."""
        if self._link is not None:
            self._link.send({"type": "save-asked", "request": request})

    async def _beat(self) -> None:
        while True:
            message = self.pod.beat()
            if self._link is not None:
                self._link.send(message)
            await asyncio.sleep(self.timing.heartbeat)
