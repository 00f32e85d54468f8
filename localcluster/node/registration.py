"""The Node object and its lease."""

import asyncio
import datetime
import logging
import platform
import time
import uuid
from typing import Any

import aiohttp

from localcluster.build import KUBERNETES
from localcluster.node.api import Api, ApiError
from localcluster.node.events import now

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
RENEW_SECONDS = 10.0
LEASE_SECONDS = 40
HEARTBEATS_PER_STATUS = 18
"""The lease says that the node lives; its status is only refreshed every three minutes, and when
the node was silent for so long that it may be taken for dead."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PRESSURES = {
    "MemoryPressure": "kubelet has sufficient memory available",
    "DiskPressure": "kubelet has no disk pressure",
    "PIDPressure": "kubelet has sufficient PID available",
}


def node_capacity(gpus: int, cpu: str, memory: str) -> dict[str, str]:
    """What a node tells the scheduler; none of it is enforced."""
    result = {"cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "500Gi"}
    return result | ({"nvidia.com/gpu": str(gpus)} if gpus else {})


class Registration:
    """Says that the node exists, what it has, and again and again that it lives."""

    def __init__(
        self, api: Api, name: str, capacity: dict[str, str], labels: dict[str, str], port: int
    ) -> None:
        self._api, self._name = api, name
        self._capacity, self._port = capacity, port
        self._labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            **labels,
        }
        self._since = now()

    async def register(self) -> None:
        """Make or renew Node and Lease."""
        metadata = {"name": self._name, "labels": self._labels}
        if await self._api.find(f"/api/v1/nodes/{self._name}") is None:
            await self._api.post("/api/v1/nodes", {"metadata": metadata})
        else:
            await self._api.patch(f"/api/v1/nodes/{self._name}", {"metadata": metadata})
        await self._send_status()
        await self._renew()

    async def keep_alive(self) -> None:
        """Renew for ever."""
        beats, renewed = 0, time.monotonic()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            beats += 1
            try:
                await self._renew()
                was_lost = time.monotonic() - renewed > LEASE_SECONDS
                renewed = time.monotonic()
                if was_lost or beats % HEARTBEATS_PER_STATUS == 0:
                    await self._send_status()
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                log.warning("heartbeat: %s", error)

    async def _renew(self) -> None:
        renewed = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            "holderIdentity": self._name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": renewed,
        }
        try:
            await self._api.patch(f"{LEASES}/{self._name}", {"spec": spec})
        except ApiError as error:
            if error.code != 404:
                raise
            await self._api.post(LEASES, {"metadata": {"name": self._name}, "spec": spec})

    async def _send_status(self) -> None:
        await self._api.patch(f"/api/v1/nodes/{self._name}/status", {"status": self._status()})

    def _status(self) -> dict[str, Any]:
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, self._name))
        return {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": [
                *(self._condition(kind, "False", f"KubeletHas{_words(kind)}", message)
                  for kind, message in PRESSURES.items()),
                self._condition("Ready", "True", "KubeletReady", "node runs pods as processes"),
            ],
            "addresses": [
                {"type": "InternalIP", "address": HOST},
                {"type": "Hostname", "address": self._name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "nodeInfo": {
                "machineID": identity,
                "systemUUID": identity,
                "bootID": identity,
                "kernelVersion": platform.release(),
                "osImage": platform.system(),
                "containerRuntimeVersion": "process://1.0.0",
                "kubeletVersion": KUBERNETES,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": _architecture(),
            },
        }  # fmt: skip

    def _condition(self, kind: str, value: str, reason: str, message: str) -> dict[str, str]:
        return {
            "type": kind, "status": value, "reason": reason, "message": message,
            "lastHeartbeatTime": now(), "lastTransitionTime": self._since,
        }  # fmt: skip


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _words(pressure: str) -> str:
    return {
        "MemoryPressure": "SufficientMemory",
        "DiskPressure": "NoDiskPressure",
        "PIDPressure": "SufficientPID",
    }[pressure]
