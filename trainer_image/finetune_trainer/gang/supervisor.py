"""PID 1 of a training pod: servers, signals, and the last words.

Whatever happens, this process leaves with a code and a message that say why, and none of its
ranks outlives it.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import traceback
from pathlib import Path

from aiohttp import web

from finetune_api import names
from finetune_api.errors import JobError
from finetune_api.exits import EXIT_CODES, FINAL_CODES, ExitClass, Failure
from finetune_api.jobconfig import JobConfig
from finetune_trainer.config import Places, load_config
from finetune_trainer.gang.follower import Follower
from finetune_trainer.gang.http import http_application
from finetune_trainer.gang.leader import Leader
from finetune_trainer.gang.members import Outcome
from finetune_trainer.gang.peers import gang_application
from finetune_trainer.gang.pod import Pod
from finetune_trainer.gang.settings import Identity, Timing
from finetune_trainer.gang.signals import REQUESTS, become_subreaper, take_requests
from finetune_trainer.gang.state import RunState, termination_message
from finetune_trainer.telemetry.exporter import training_registry

FREE = EXIT_CODES[ExitClass.PREEMPTED]
OVER_SECONDS = 1.0


class Supervisor:
    """One pod, from its start to its last words."""

    def __init__(self, config: JobConfig, places: Places, me: Identity, timing: Timing) -> None:
        self.config = config
        self.me = me
        self.timing = timing
        self.state = RunState(pods=config.pods, world_size=config.world_size)
        self.pod = Pod(me, config, places, timing, self.state)
        self._asked = 0
        self._forced: asyncio.Future[Outcome] | None = None
        self._saves = itertools.count(1)

    async def run(self) -> Outcome:
        """Lead or follow until the end."""
        loop = asyncio.get_running_loop()
        self._forced = loop.create_future()
        self.role: Leader | Follower
        if self.me.leads:
            self.role = Leader(self.me, self.config, self.timing, self.pod, self.state)
        else:
            self.role = Follower(self.me, self.timing, self.pod)
        for number in REQUESTS:
            loop.add_signal_handler(number, self._terminate)
        loop.add_signal_handler(
            signal.SIGUSR1, lambda: self.role.save(f"signal-{next(self._saves)}")
        )
        servers = [await self._serve()]
        if isinstance(self.role, Leader):
            application = gang_application(self.role, self.me.token, self.config.pods)
            servers.append(await _listen(application, self.me.ip, names.PORT_GANG))
        work = asyncio.create_task(self.role.run())
        take_requests()  # now that somebody hears them
        try:
            done, _ = await asyncio.wait({work, self._forced}, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            self.pod.ranks.kill()
            for server in reversed(servers):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(server.cleanup(), 5)
            self.pod.close()

    async def _serve(self) -> web.AppRunner:
        registry = training_registry(self.config, self.state, self.me.pod)
        application = http_application(
            self.state, registry, self.me.token, lambda request: self.role.save(request)
        )
        return await _listen(application, self.me.ip, names.PORT_HTTP)

    def _terminate(self) -> None:
        """SIGTERM: save and leave within the grace time; a second one: leave now."""
        assert self._forced is not None
        self._asked += 1
        if self._asked > 1:
            self._force()
            return
        asyncio.get_running_loop().call_later(
            max(0.0, self.timing.grace - self.timing.grace_margin / 2), self._force
        )
        self.role.leave(self.timing.grace)

    def _force(self) -> None:
        assert self._forced is not None
        if not self._forced.done():
            done = self.pod.over is True
            self._forced.set_result(Outcome(0 if done else FREE))


async def _listen(application: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError as error:
        await runner.cleanup()
        raise JobError(f"cannot listen on {host}:{port}: {error.strerror}", "free it") from error
    return runner


def last_words(state: RunState, outcome: Outcome) -> None:
    """The termination message, where the kubelet reads it."""
    if outcome.failure is not None and state.failure is None:
        state.failure = outcome.failure
    if outcome.code == FREE and state.failure is None:
        durable = state.durable
        state.failure = Failure(
            exit_class=ExitClass.PREEMPTED,
            message=f"left on request at step {state.step}",
            remedy="the job goes on from its last checkpoint",
            step=state.step,
            checkpoint_step=durable.step if durable else None,
        )
    path = os.environ.get(names.ENV_TERMINATION)
    if path:
        try:
            Path(path).write_text(termination_message(state.report()))
        except Exception:  # the exit code must not depend on the message
            traceback.print_exc()


def main() -> int:
    """Run the supervisor of this pod; the exit code."""
    state = RunState(pods=1, world_size=1)
    leads = (os.environ.get(names.ENV_POD_INDEX) or "0") == "0"
    try:
        config = load_config()
        me = Identity.from_env(os.environ, config.pods)
        places = Places.from_env()
        places.make()
        become_subreaper()
        supervisor = Supervisor(config, places, me, Timing.from_env(os.environ))
        state = supervisor.state
        outcome = asyncio.run(supervisor.run())
    except JobError as error:
        failure = error.failure()
        outcome = Outcome(failure.code, failure)
    except Exception as error:
        traceback.print_exc()
        failure = Failure(
            exit_class=ExitClass.INTERNAL_ERROR,
            message=f"the supervisor failed: {type(error).__name__}: {error}"[:1500],
            remedy="this is a bug: report it with the log",
        )
        outcome = Outcome(failure.code, failure)
    if outcome.code in FINAL_CODES and not leads:
        outcome = Outcome(EXIT_CODES[ExitClass.INTERNAL_ERROR], outcome.failure)
    last_words(state, outcome)
    if outcome.failure is not None:
        print(f"finetune-trainer: {outcome.failure.sentence()}", file=sys.stderr)  # noqa: T201
    return outcome.code
