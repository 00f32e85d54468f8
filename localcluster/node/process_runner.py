"""Runs containers as processes under a shim; takes them over when the node program restarts."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from localcluster.node import shim
from localcluster.node.runner import Ended, Image, Launch

MARK = "LOCALCLUSTER_CONTAINER"
"""Variable that every process of a container inherits: finds those that left shim and session."""
LOST_EXIT_CODE = 137
SETTLE_SECONDS = 2.0


class ProcessRun:
    """A container under a live shim."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        state = json.loads((folder / "state.json").read_text())
        self.started_at: float = state["startedAt"]
        self._folder = folder
        self._process = process
        self._shim = _open(state["pid"], state["start"])
        self._ended: asyncio.Task[Ended] | None = None

    @property
    def over(self) -> bool:
        """Whether its shim has ended."""
        return self._shim is None

    def terminate(self) -> None:
        """SIGTERM to the program."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the program and to all it started."""
        self._signal(signal.SIGUSR1)

    async def wait(self) -> Ended:
        """The true exit, also when it happened while no node program was there."""
        if self._ended is None:
            self._ended = asyncio.create_task(self._wait())
        return await asyncio.shield(self._ended)

    async def _wait(self) -> Ended:
        if self._shim is not None:
            await _readable(self._shim)
            os.close(self._shim)
            self._shim = None
        if self._process is not None:
            self._process.wait()
        try:
            document = json.loads((self._folder / "exit.json").read_text())
        except FileNotFoundError:
            kill_below(self._folder)
            return Ended(
                LOST_EXIT_CODE, self.started_at, time.time(),
                "ContainerStatusUnknown", "The process above the container was killed",
            )  # fmt: skip
        reason = "StartError" if document["error"] else None
        times = (document["startedAt"], document["finishedAt"])
        return Ended(document["exitCode"], *times, reason, document["error"])

    def _signal(self, number: int) -> None:
        if self._shim is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._shim, number)


class ProcessRunner:
    """Images come from a table in a JSON file, read anew at each use so that it can be extended."""

    def __init__(self, images: Path) -> None:
        self._images = images

    def image(self, pod: dict[str, Any], container: dict[str, Any]) -> Image | None:
        """What the table says about the container's image."""
        entry = json.loads(self._images.read_text()).get(container["image"])
        if entry is None:
            return None
        path, entrypoint = entry.get("path", ()), entry.get("entrypoint", ())
        return Image(tuple(path), entry.get("env", {}), tuple(entrypoint))

    async def start(self, launch: Launch) -> ProcessRun:
        """Start the shim and wait until it has started the program."""
        mark = {MARK: f"{launch.folder}/"}
        document = {"argv": launch.argv, "env": {**launch.env, **mark}, "cwd": launch.cwd}
        path = launch.folder / "launch.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        with (launch.folder / "shim.log").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", shim.__file__, str(launch.folder)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env=mark, start_new_session=True,
            )  # fmt: skip
        with process.stdout as said:
            if not await asyncio.to_thread(said.readline):
                raise OSError(f"no shim: {(launch.folder / 'shim.log').read_text()}")
        return ProcessRun(launch.folder, process)

    async def find(self, folder: Path) -> ProcessRun | None:
        """The run of a folder. Its shim may still be starting when the node program was killed."""
        end = time.monotonic() + SETTLE_SECONDS
        while not (folder / "state.json").exists():
            if time.monotonic() > end:
                await asyncio.to_thread(kill_below, folder)
                return None
            await asyncio.sleep(0.05)
        return ProcessRun(folder)

    def clear(self, folder: Path) -> None:
        """SIGKILL to all processes that carry the mark of a container below the folder."""
        kill_below(folder)


def kill_below(folder: Path) -> None:
    """End every process of containers below a folder, and wait until they are gone."""
    wanted = f"{MARK}={folder}/".encode()
    end = time.monotonic() + SETTLE_SECONDS
    while (found := _marked(wanted)) and time.monotonic() < end:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _marked(wanted: bytes) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                variables = Path(entry.path, "environ").read_bytes().split(b"\0")
                if any(variable.startswith(wanted) for variable in variables):
                    found.append(int(entry.name))
    return found


def _open(pid: int, start: int) -> int | None:
    """A descriptor of the process, unless its pid belongs to another by now."""
    try:
        descriptor = os.pidfd_open(pid)
        if shim.start_time(pid) == start:
            return descriptor
        os.close(descriptor)
    except OSError:
        pass
    return None


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
