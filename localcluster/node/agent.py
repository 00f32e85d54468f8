"""The node: registers, keeps its lease, and gives every pod bound to it a life."""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from localcluster.node.api import Api
from localcluster.node.events import Recorder
from localcluster.node.logs import LogServer
from localcluster.node.pod import Pod
from localcluster.node.registration import HOST, Registration
from localcluster.node.runner import Runner

log = logging.getLogger(__name__)
SOURCES = ("secrets", "configmaps")


class Agent:
    """One node. ``state`` holds the folders of its pods, so that a new agent finds them again."""

    def __init__(
        self,
        name: str,
        *,
        api: Api,
        runner: Runner,
        state: Path,
        capacity: dict[str, str],
        labels: dict[str, str] | None = None,
    ) -> None:
        self.name, self.api = name, api
        self.pods: dict[str, Pod] = {}
        self._runner, self._state, self._capacity = runner, state, capacity
        self._recorder = Recorder(api, name)
        self._labels = labels or {}
        self._farewells: set[asyncio.Task[None]] = set()
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Be a node until cancelled; containers stay when it ends."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._state.chmod(0o700)  # Secrets lie below it
        logs = LogServer(self)
        port = await logs.start(self._state)
        registration = Registration(self.api, self.name, self._capacity, self._labels, port)
        try:
            async with aiohttp.ClientSession() as self._session, asyncio.TaskGroup() as tasks:
                await registration.register()
                self.registered.set()
                tasks.create_task(registration.keep_alive())
                tasks.create_task(self._recorder.run())
                tasks.create_task(self._follow_pods())
                for kind in SOURCES:
                    tasks.create_task(self._follow_sources(kind))
        finally:
            await asyncio.gather(*(pod.abandon() for pod in self.pods.values()))
            await logs.stop()
            await self.api.close()

    def find(self, namespace: str, name: str) -> Pod | None:
        """The pod of this name that is, or last was, here."""
        for pod in self.pods.values():
            metadata = pod.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return pod
        return None

    async def _follow_pods(self) -> None:
        selector = f"spec.nodeName={self.name}"
        async for change, item in self.api.follow("/api/v1/pods", fieldSelector=selector):
            if change == "LISTED":
                await self._match(item)
            elif change == "DELETED":
                self._part(item["metadata"]["uid"])
            else:
                self._meet(item)

    async def _match(self, listed: list[dict[str, Any]]) -> None:
        """Make pods and folders agree with a list."""
        present = {pod["metadata"]["uid"] for pod in listed}
        for uid in self.pods.keys() - present:
            self._part(uid)
        known = {folder_name(uid) for uid in present} | {p.folder.name for p in self.pods.values()}
        for folder in self._state.iterdir():
            if folder.name not in known and (folder / "c").exists():
                log.info("removing %s, whose pod is gone", folder)
                await asyncio.to_thread(self._runner.clear, folder)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        for pod in listed:
            self._meet(pod)

    def _meet(self, item: dict[str, Any]) -> None:
        uid = item["metadata"]["uid"]
        if uid in self.pods:
            self.pods[uid].observe(item)
            return
        self.pods[uid] = Pod(
            item,
            self._state / folder_name(uid),
            api=self.api,
            runner=self._runner,
            recorder=self._recorder,
            session=self._session,
            node=self.name,
            host=HOST,
            capacity=self._capacity,
        )
        self.pods[uid].begin()

    def _part(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        if pod is not None:
            farewell = asyncio.create_task(pod.vanish())
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def _follow_sources(self, kind: str) -> None:
        async for change, item in self.api.follow(f"/api/v1/{kind}"):
            for changed in item if change == "LISTED" else [item]:
                metadata = changed["metadata"]
                for pod in list(self.pods.values()):
                    pod.source_changed(metadata["namespace"], metadata["name"])


def folder_name(uid: str) -> str:
    """Short, because UNIX socket paths are; eight hexadecimal digits do for one node."""
    return uid[:8]


async def run_until(agent: Agent, stop: asyncio.Event) -> None:
    """Run an agent until an event is set."""
    running = asyncio.create_task(agent.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
