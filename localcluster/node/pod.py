"""The life of one pod on this node: volumes, init containers, containers, end, report, farewell."""

import asyncio
import contextlib
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp

from localcluster.node import launching, status
from localcluster.node.api import Api, ApiError
from localcluster.node.container import Container
from localcluster.node.environment import ConfigError, Sources
from localcluster.node.events import Recorder, now
from localcluster.node.fields import Fields
from localcluster.node.network import pod_address
from localcluster.node.probes import Prober
from localcluster.node.reporting import Reporter
from localcluster.node.runner import Image, Launch, Runner
from localcluster.node.volumes import Volumes

log = logging.getLogger(__name__)

STOP_POLL_SECONDS = 0.2
VOLUME_RETRY_SECONDS = 2.0
TOKEN_CHECK_SECONDS = 60.0
DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class Pod:
    """One pod, from its binding to this node until its object is gone.

    ``folder`` is short because programs put UNIX sockets below it, whose paths hold 107 bytes.
    """

    def __init__(
        self,
        pod: dict[str, Any],
        folder: Path,
        *,
        api: Api,
        runner: Runner,
        recorder: Recorder,
        session: aiohttp.ClientSession,
        node: str,
        host: str,
        capacity: dict[str, str],
    ) -> None:
        self.pod, self.folder = pod, folder
        self.uid: str = pod["metadata"]["uid"]
        self._api, self._runner, self._recorder = api, runner, recorder
        self._node, self._host, self._capacity = node, host, capacity
        self._volumes = Volumes(api, folder / "v")
        self._sources = Sources(api, pod["metadata"]["namespace"])
        self._verdict: tuple[str, str] | None = None
        self._stop_by = 0.0
        self._leaving = asyncio.Event()
        self._reporter = Reporter(api, pod, self._status)
        self._volumes_stale = asyncio.Event()
        self._conditions = status.Conditions.known(pod)
        self._initialized = self._conditions.holds("Initialized")
        self._sandbox = self._conditions.holds("PodReadyToStartContainers")
        self._finished = False
        self._started_at: str = pod.get("status", {}).get("startTime") or now()
        self._tasks: list[asyncio.Task[None]] = []
        spec = pod["spec"]
        self.inits = [self._container(c, session) for c in spec.get("initContainers", [])]
        self.mains = [self._container(c, session) for c in spec["containers"]]

    def _container(self, spec: dict[str, Any], session: aiohttp.ClientSession) -> Container:
        policy = spec.get("restartPolicy") or self.pod["spec"].get("restartPolicy", "Always")
        is_init = spec in self.pod["spec"].get("initContainers", [])
        if is_init and not status.is_sidecar(spec) and policy == "Always":
            policy = "OnFailure"
        return Container(
            spec,
            self.folder / "c" / spec["name"],
            policy=policy,
            runner=self._runner,
            prober=Prober(session, spec, pod_address(self.pod)),
            pod=lambda: self.pod,
            launch=self._launch,
            say=lambda *words, **options: self._recorder.say(self.pod, *words, **options),
            changed=self._reporter.changed.set,
        )

    @property
    def fields(self) -> Fields:
        """What the pod may learn about itself, as of now."""
        return Fields(self.pod, self._node, self._host, self._capacity)

    def begin(self) -> None:
        """Let it live; what an earlier node program has begun is taken over."""
        self.observe(self.pod)
        self._tasks = [asyncio.create_task(self._live(), name=self.uid)]

    def observe(self, pod: dict[str, Any]) -> None:
        """The object has changed: perhaps the pod must leave, or sooner than it was told."""
        told = [self.pod["metadata"].get(key) for key in ("labels", "annotations")]
        if told != [pod["metadata"].get(key) for key in ("labels", "annotations")]:
            self._volumes_stale.set()
        self.pod = pod
        self._reporter.reconcile(pod.get("status", {}))
        if "deletionTimestamp" in pod["metadata"]:
            grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
            sooner = time.monotonic() + grace
            self._stop_by = min(self._stop_by, sooner) if self._leaving.is_set() else sooner
            self._leaving.set()

    def source_changed(self, namespace: str, name: str) -> None:
        """A Secret or ConfigMap was written; the volumes may be made from it."""
        if namespace == self.pod["metadata"]["namespace"]:
            volumes = json.dumps(self.pod["spec"].get("volumes", []))
            if f'"{name}"' in volumes:
                self._volumes_stale.set()

    async def vanish(self) -> None:
        """The object is gone: end what still runs, remove the folder."""
        for container in [*self.inits, *self.mains]:
            container.kill()
        await self.abandon()
        await asyncio.to_thread(self._runner.clear, self.folder)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self._recorder.forget(self.pod)

    async def abandon(self) -> None:
        """The node program ends: containers stay, nothing is reported any more."""
        tasks = [*self._tasks, *(c.task for c in [*self.inits, *self.mains] if c.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self) -> None:
        if self.pod.get("status", {}).get("phase") not in status.TERMINAL:
            await asyncio.gather(*(c.take_over() for c in [*self.inits, *self.mains]))
            for task in (self._reporter.run(), self._keep_volumes_current()):
                self._tasks.append(asyncio.create_task(task, name=self.uid))
            await self._work()
            await self._reporter.flush()
        await self._leaving.wait()
        await self._reporter.say_farewell()

    async def _work(self) -> None:
        """Run until everything has ended, the pod must leave, or its time is over."""
        running = asyncio.create_task(self._run())
        leaving = asyncio.create_task(self._leaving.wait())
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        try:
            done, _ = await asyncio.wait(
                {running, leaving}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._verdict = DEADLINE
            elif running in done and (error := running.exception()):
                log.error("pod %s", self.pod["metadata"]["name"], exc_info=error)
                self._verdict = ("NodeError", f"{type(error).__name__}: {error}")
        finally:
            running.cancel()
            leaving.cancel()
        if not self._leaving.is_set():
            grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
            self._stop_by = time.monotonic() + grace
        sidecars = [c for c in self.inits if status.is_sidecar(c.spec)]
        await self._stop([*self.mains, *(c for c in self.inits if c not in sidecars)])
        for sidecar in reversed(sidecars):
            await self._stop([sidecar])
        self._finished = True

    async def _run(self) -> None:
        await self._fill_volumes()
        self._sandbox = True
        self._reporter.changed.set()
        for container in self.inits:
            container.start()
            if status.is_sidecar(container.spec):
                await container.has_started.wait()
            else:
                await asyncio.wait({container.task})
                if container.failed:
                    return
        self._initialized = True
        for container in self.mains:
            container.start()
        self._reporter.changed.set()
        await asyncio.wait({container.task for container in self.mains})

    async def _fill_volumes(self) -> None:
        """Wait for what the volumes are made from; a pod that ran before needs no more waiting."""
        while True:
            self._volumes_stale.clear()
            try:
                return await self._volumes.refresh(self.fields)
            except ConfigError as error:
                if (self.folder / "c").exists():
                    return None
                self._recorder.say(self.pod, "FailedMount", str(error), warning=True)
                for container in self.inits or self.mains:
                    container.waiting = ("ContainerCreating", "")
                self._reporter.changed.set()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                self._recorder.say(self.pod, "FailedMount", str(error), warning=True)
            await self._volumes_need_work(VOLUME_RETRY_SECONDS)

    async def _keep_volumes_current(self) -> None:
        while True:
            await self._volumes_need_work(TOKEN_CHECK_SECONDS)
            if not self._sandbox:  # the first filling waits for the same event
                await asyncio.sleep(VOLUME_RETRY_SECONDS)
                continue
            self._volumes_stale.clear()
            try:
                await self._volumes.refresh(self.fields)
            except (ConfigError, ApiError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("volumes of %s: %s", self.pod["metadata"]["name"], error)

    async def _volumes_need_work(self, at_most_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_seconds):
                await self._volumes_stale.wait()

    async def _stop(self, containers: list[Container]) -> None:
        for container in containers:
            await container.stop()
        while alive := [container for container in containers if not container.over]:
            remaining = self._stop_by - time.monotonic()
            if remaining <= 0:
                for container in alive:
                    container.kill()
            await asyncio.wait(
                {container.task for container in alive},
                timeout=max(0.05, min(remaining, STOP_POLL_SECONDS)),
            )

    async def _launch(self, spec: dict[str, Any], folder: Path, image: Image) -> Launch:
        try:
            return await launching.launch(
                spec,
                folder,
                image=image,
                mounts=self._volumes.mounts(spec, self.pod),
                fields=self.fields,
                sources=self._sources,
                scratch=self.folder / "t",
                server=self._api.server,
            )
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            raise ConfigError(str(error)) from error

    def _status(self) -> dict[str, Any]:
        doomed = self._verdict is not None
        state = {"initialized": self._initialized, "finished": self._finished, "doomed": doomed}
        phase = status.phase(self.mains, **state)
        conditions = status.conditions(
            self._conditions, self.inits, self.mains,
            sandbox=self._sandbox, initialized=self._initialized, phase=phase, now=now(),
        )  # fmt: skip
        disrupted = [c.ended for c in self.mains if c.ended and c.ended.disruption]
        for ended in disrupted[:1]:
            message = "The pod was disrupted"
            condition = self._conditions.set("DisruptionTarget", True, now(), ended.disruption)
            conditions.append({**condition, "message": message})
        address = pod_address(self.pod)
        document: dict[str, Any] = {
            "phase": phase,
            "conditions": conditions,
            "hostIP": self._host,
            "hostIPs": [{"ip": self._host}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": self._started_at,
            "containerStatuses": [
                status.container_status(c, self.uid, init=False) for c in self.mains
            ],
        }
        if self.inits:
            document["initContainerStatuses"] = [
                status.container_status(c, self.uid, init=True) for c in self.inits
            ]
        if self._verdict:
            document["reason"], document["message"] = self._verdict
        return document
