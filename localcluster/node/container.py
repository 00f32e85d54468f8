"""One container of a pod: started, probed, restarted by its policy, stopped, taken over again."""

import asyncio
import dataclasses
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from localcluster.node.environment import ConfigError
from localcluster.node.probes import Prober
from localcluster.node.runner import Ended, Image, Launch, Run, Runner

log = logging.getLogger(__name__)

BACKOFF_SECONDS, BACKOFF_LIMIT = 10.0, 300.0
RETRY_SECONDS = 1.0
MESSAGE_BYTES, LOG_BYTES, LOG_LINES = 4096, 2048, 80
LOST = Ended(
    137, 0.0, 0.0, "ContainerStatusUnknown",
    "The container could not be located when the pod was taken over",
)  # fmt: skip


class Container:
    """What became of one container, over all its runs. ``attempt`` counts restarts."""

    def __init__(
        self,
        spec: dict[str, Any],
        folder: Path,
        *,
        policy: str,
        runner: Runner,
        prober: Prober,
        pod: Callable[[], dict[str, Any]],
        launch: Callable[[dict[str, Any], Path, Image], Awaitable[Launch]],
        say: Callable[..., None],
        changed: Callable[[], None],
    ) -> None:
        self.spec, self.name = spec, spec["name"]
        self.attempt = 0
        self.run: Run | None = None
        self.ended: Ended | None = None
        self.previous: Ended | None = None
        self.waiting = ("PodInitializing", "")
        self.ready = False
        self.has_started = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._folder, self._policy = folder, policy
        self._runner, self._prober = runner, prober
        self._pod, self._launch = pod, launch
        self._say, self._changed = say, changed
        self._starting = asyncio.Lock()
        self._stopping = False

    @property
    def over(self) -> bool:
        """Whether it will not run any more."""
        return self.task is None or self.task.done()

    @property
    def failed(self) -> bool:
        """Whether it has ended badly for good."""
        return self.over and self.ended is not None and self.ended.exit_code != 0

    def start(self) -> None:
        """Let it live."""
        self.waiting = ("ContainerCreating", "")
        self.task = asyncio.create_task(self._live(), name=self.name)
        self.task.add_done_callback(_log_failure)

    async def stop(self) -> None:
        """Ask it to end, and never start it again."""
        self._stopping = True
        if self.over:
            return
        async with self._starting:  # a start under way first gets to the point of having a process
            if self.run is None:
                self.task.cancel()
            else:
                self._say("Killing", f"Stopping container {self.name}")
                self.run.terminate()

    def kill(self) -> None:
        """End it now."""
        if self.run is not None:
            self.run.kill()

    async def _live(self) -> None:
        while True:
            if self.run is None and self.ended is None:
                await self._begin()
            if self.run is not None:
                self.ended = await self._follow(self.run)
                self.run, self.ready = None, False
                self.has_started.clear()
                self._changed()
            if not self._again():
                return
            self.previous, self.ended = self.ended, None
            await self._back_off()
            self.attempt += 1

    def _again(self) -> bool:
        if self._stopping or self.ended is None:
            return False
        failed = self.ended.exit_code != 0
        return self._policy == "Always" or (self._policy == "OnFailure" and failed)

    async def _back_off(self) -> None:
        """The first restart is immediate, then 10, 20, 40 … seconds."""
        if self.attempt == 0:
            return
        delay = min(BACKOFF_SECONDS * 2 ** (self.attempt - 1), BACKOFF_LIMIT)
        message = f"back-off {delay:.0f}s restarting failed container={self.name}"
        self.waiting = ("CrashLoopBackOff", message)
        self._say("BackOff", f"Back-off restarting failed container {self.name}", warning=True)
        self._changed()
        await asyncio.sleep(delay)

    async def take_over(self) -> None:
        """Find the runs that an earlier node program has started; before anything is reported."""
        status = self._pod().get("status", {})
        every = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
        known = next((entry for entry in every if entry["name"] == self.name), {"state": {}})
        attempts = sorted(int(path.name) for path in self._folder.glob("[0-9]*"))
        if not attempts:
            if {"running", "terminated"} & known["state"].keys():
                self.ended = dataclasses.replace(LOST, finished_at=time.time())
            return
        self.attempt = attempts[-1]
        if self.attempt:
            before = await self._runner.find(self._folder / str(self.attempt - 1))
            self.previous = await before.wait() if before else None
        run = await self._runner.find(self._folder / str(self.attempt))
        if run is not None and run.over:
            self.ended = self._told(await run.wait())
        elif run is not None:
            self.run, self.ready = run, known.get("ready", False)
            if known.get("started"):
                self.has_started.set()

    async def _begin(self) -> None:
        """Start it as soon as its image and all it names are there."""
        self.waiting = ("ContainerCreating", "")
        refused = 0
        while True:
            image = self._runner.image(self._pod(), self.spec)
            try:
                if image is None:
                    refused += 1
                    self._refuse_image(refused)
                else:
                    folder = self._folder / str(self.attempt)
                    shutil.rmtree(folder, ignore_errors=True)
                    await self._start(await self._launch(self.spec, folder, image))
                    return
            except ConfigError as error:
                self._wait_for(
                    "CreateContainerConfigError", str(error), "Failed", f"Error: {error}"
                )
            except OSError as error:
                self._wait_for("CreateContainerError", str(error), "Failed", f"Error: {error}")
            await asyncio.sleep(RETRY_SECONDS)

    async def _start(self, launch: Launch) -> None:
        async with self._starting:
            if self._stopping:
                return
            self.run = await self._runner.start(launch)
        self._say("Started", f"Container {self.name} started")

    def _refuse_image(self, times: int) -> None:
        image = self.spec["image"]
        failed = f'Failed to pull image "{image}": not in the image table of this node'
        if times == 1:
            self._wait_for("ErrImagePull", failed, "Failed", failed)
        elif times == 2:
            message = f'Back-off pulling image "{image}": ErrImagePull: {failed}'
            self._wait_for("ImagePullBackOff", message, "BackOff", message)

    def _wait_for(self, reason: str, message: str, event: str, text: str) -> None:
        if self.waiting != (reason, message):
            self.waiting = (reason, message)
            self._say(event, text, warning=True)
            self._changed()

    async def _follow(self, run: Run) -> Ended:
        probing = asyncio.create_task(self._probe(run))
        try:
            ended = await run.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        return self._told(ended)

    def _told(self, ended: Ended) -> Ended:
        return dataclasses.replace(ended, message=self._message(ended))

    def _message(self, ended: Ended) -> str:
        folder = self._folder / str(self.attempt)
        if data := _head(folder / "termination-message", MESSAGE_BYTES):
            return data.decode(errors="replace")
        fallback = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if fallback and ended.exit_code != 0:
            lines = _tail(folder / "log", LOG_BYTES).splitlines(keepends=True)
            return b"".join(lines[-LOG_LINES:]).decode(errors="replace")
        return ended.message

    async def _probe(self, run: Run) -> None:
        """Startup first; only then readiness and liveness."""
        if "startupProbe" in self.spec:
            self._changed()
            await self._prober.until_passed(
                self.spec["startupProbe"], lambda trouble: self._unhealthy(run, "Startup", trouble)
            )
        self.has_started.set()
        self.ready = "readinessProbe" not in self.spec
        self._changed()
        async with asyncio.TaskGroup() as probes:
            if "readinessProbe" in self.spec:
                probes.create_task(
                    self._prober.follow(
                        self.spec["readinessProbe"], lambda: self._set_ready(None), self._set_ready
                    )
                )
            if "livenessProbe" in self.spec:
                probes.create_task(
                    self._prober.follow(
                        self.spec["livenessProbe"],
                        lambda: None,
                        lambda trouble: self._unhealthy(run, "Liveness", trouble),
                    )
                )

    def _set_ready(self, trouble: str | None) -> None:
        if trouble is not None:
            self._say("Unhealthy", f"Readiness probe failed: {trouble}", warning=True)
        if self.ready != (trouble is None):
            self.ready = trouble is None
            self._changed()

    def _unhealthy(self, run: Run, probe: str, trouble: str) -> None:
        self._say("Unhealthy", f"{probe} probe failed: {trouble}", warning=True)
        self._say("Killing", f"Container {self.name} failed {probe.lower()} probe")
        run.terminate()
        grace = self._pod()["spec"].get("terminationGracePeriodSeconds", 30)
        asyncio.get_running_loop().call_later(grace, run.kill)


def _log_failure(task: asyncio.Task[None]) -> None:
    """A mistake of this program must not look like a container that just ended."""
    if not task.cancelled() and (error := task.exception()):
        log.error("container %s", task.get_name(), exc_info=error)


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


def _tail(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read()
    except FileNotFoundError:
        return b""
