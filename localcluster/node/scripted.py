"""A runner that plays containers: a script says how each ends, nothing is executed.

For tests of what a controller does when pods fail, hang, are disrupted, or when a node falls
silent. The rest of the node is the real one, so the status is what a container would have left.
"""

import asyncio
import contextlib
import dataclasses
import fnmatch
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from localcluster.node.agent import Agent
from localcluster.node.api import Api, ApiError
from localcluster.node.registration import node_capacity
from localcluster.node.runner import Ended, Image, Launch

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Fate:
    """What becomes of a container. Without ``after`` it runs until it is stopped."""

    exit_code: int = 0
    after: float | None = None
    message: str = ""
    log: str = ""
    obeys_sigterm: bool = True
    sigterm_exit_code: int = 143
    image_pending: bool = False
    disruption: str | None = None
    """Reason of a DisruptionTarget condition that the pod gets when the container ends."""


Script = Callable[[dict[str, Any]], Fate | Mapping[str, Fate]]
"""The fate of a pod's containers, or fates by container name (the others run until stopped)."""


class ScriptedRun:
    """A container that is only said to run."""

    def __init__(self, launch: Launch, fate: Fate) -> None:
        self.started_at = time.time()
        self.launch, self._fate = launch, fate
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        launch.log.write_text(fate.log)
        if fate.after is not None:
            asyncio.get_running_loop().call_later(fate.after, self.end, fate)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    def end(self, fate: Fate) -> None:
        """End it this way, unless it has ended."""
        if not self.over:
            self.launch.termination_message.write_text(fate.message)
            self._ended.set_result(
                Ended(fate.exit_code, self.started_at, time.time(), disruption=fate.disruption)
            )

    def terminate(self) -> None:
        """SIGTERM, which the fate may ignore."""
        if self._fate.obeys_sigterm:
            self.end(dataclasses.replace(self._fate, exit_code=self._fate.sigterm_exit_code))

    def kill(self) -> None:
        """SIGKILL."""
        self.end(Fate(exit_code=137))

    async def wait(self) -> Ended:
        """How it ended."""
        return await asyncio.shield(self._ended)


class ScriptedRunner:
    """Plays containers by a script."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.runs: dict[Path, ScriptedRun] = {}

    def image(self, pod: dict[str, Any], container: dict[str, Any]) -> Image | None:
        """Every image is there, but those that the script holds back."""
        pending = self._fate(pod, container["name"]).image_pending
        return None if pending else Image(entrypoint=("scripted",))

    async def start(self, launch: Launch) -> ScriptedRun:
        """Play one start."""
        run = ScriptedRun(launch, self._fate(launch.pod, launch.container))
        self.runs[launch.folder] = run
        return run

    async def find(self, folder: Path) -> ScriptedRun | None:
        """A run of this runner; nothing is kept when the node program ends."""
        return self.runs.get(folder)

    def clear(self, folder: Path) -> None:
        """Forget the runs below a folder."""
        self.runs = {path: run for path, run in self.runs.items() if folder not in path.parents}

    def _fate(self, pod: dict[str, Any], container: str) -> Fate:
        fates = self.script(pod)
        return fates if isinstance(fates, Fate) else fates.get(container, Fate())


class FileScript:
    """Rules of a JSON file, read anew each time, so that a test can change them from outside.

    `{"silent": false, "rules": [{"pod": "train-*-0-*", "exitCode": 42, "after": 1}]}`: the first
    rule that matches `pod` and `container` decides; other fields are those of Fate in camelCase.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, pod: dict[str, Any]) -> dict[str, Fate]:
        """The fates of a pod's containers."""
        spec, name = pod["spec"], pod["metadata"]["name"]
        names = [c["name"] for c in [*spec.get("initContainers", []), *spec["containers"]]]
        rules = self._read().get("rules", [])
        meant = [rule for rule in rules if fnmatch.fnmatch(name, rule.get("pod", "*"))]
        return {
            container: _fate(rule)
            for container in names
            for rule in reversed(meant)
            if fnmatch.fnmatch(container, rule.get("container", "*"))
        }

    async def obey_silence(self, api: Api) -> None:
        """Cut the node off while the file says so."""
        while True:
            if self._read().get("silent", False):
                api.connected.clear()
            else:
                api.connected.set()
            await asyncio.sleep(POLL_SECONDS)

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):  # perhaps half written
            return {}


def _fate(rule: dict[str, Any]) -> Fate:
    camel = {
        field.name: "".join(
            part.title() if index else part for index, part in enumerate(field.name.split("_"))
        )
        for field in dataclasses.fields(Fate)
    }
    return Fate(**{name: rule[key] for name, key in camel.items() if key in rule})


class ScriptedNode:
    """A node in the caller's event loop: `async with ScriptedNode(kubeconfig, "n", script=…)`.

    Leaving the block removes the Node object; delete its pods before that.
    """

    def __init__(
        self,
        kubeconfig: Path,
        name: str,
        gpus: int = 0,
        *,
        script: Script,
        cpu: str = "64",
        memory: str = "64Gi",
        labels: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.runner = ScriptedRunner(script)
        self._kubeconfig, self._labels = kubeconfig, labels
        self._capacity = node_capacity(gpus, cpu, memory)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="scripted-"))
        self._agent = Agent(
            self.name,
            api=Api(self._kubeconfig),
            runner=self.runner,
            state=Path(folder),
            capacity=self._capacity,
            labels=self._labels,
        )
        running = asyncio.create_task(self._agent.run())
        self._stack.push_async_callback(self._leave, running)
        registered = asyncio.create_task(self._agent.registered.wait())
        await asyncio.wait({running, registered}, return_when=asyncio.FIRST_COMPLETED)
        registered.cancel()
        if running.done():
            running.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def silence(self) -> None:
        """Fall silent: no lease, no status, no farewell; what runs goes on."""
        self._agent.api.connected.clear()

    def speak(self) -> None:
        """Be heard again."""
        self._agent.api.connected.set()

    def running(self, pod: str = "*", container: str = "*") -> list[ScriptedRun]:
        """The runs that have not ended, by patterns of names."""
        return [
            run
            for run in self.runner.runs.values()
            if not run.over
            and fnmatch.fnmatch(run.launch.pod["metadata"]["name"], pod)
            and fnmatch.fnmatch(run.launch.container, container)
        ]

    def end(self, pod: str, fate: Fate, *, container: str = "*") -> int:
        """End running containers now, by patterns of names; returns how many."""
        runs = self.running(pod, container)
        for run in runs:
            run.end(fate)
        return len(runs)

    async def _leave(self, running: asyncio.Task[None]) -> None:
        self.speak()
        with contextlib.suppress(ApiError):
            node = await self._agent.api.get(f"/api/v1/nodes/{self.name}")
            uid = node["metadata"]["uid"]
            await self._agent.api.delete(f"/api/v1/nodes/{self.name}", grace_seconds=0, uid=uid)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
