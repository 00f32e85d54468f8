"""Events about pods, as `kubectl describe` shows them."""

import asyncio
import datetime
import logging
import secrets
from typing import Any

import aiohttp

from localcluster.node.api import Api, ApiError

log = logging.getLogger(__name__)


def timestamp(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """The current time as the API writes it."""
    return timestamp(datetime.datetime.now(datetime.UTC).timestamp())


class Recorder:
    """Sends events in the background, one after another; repeated ones become a count."""

    def __init__(self, api: Api, node: str) -> None:
        self._api, self._node = api, node
        self._queue: asyncio.Queue[tuple[dict[str, Any], str, str, str]] = asyncio.Queue()
        self._sent: dict[tuple[str, str, str], tuple[str, int]] = {}

    def say(self, pod: dict[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        """Record that something happened to a pod."""
        self._queue.put_nowait((pod, reason, message, "Warning" if warning else "Normal"))

    def forget(self, pod: dict[str, Any]) -> None:
        """Drop the counts of a pod that is gone."""
        uid = pod["metadata"]["uid"]
        self._sent = {key: value for key, value in self._sent.items() if key[0] != uid}

    async def run(self) -> None:
        """Send for ever; an event that is refused is lost, as everywhere."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(*event)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                log.debug("event not recorded: %s", error)

    async def _send(self, pod: dict[str, Any], reason: str, message: str, severity: str) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/events"
        key = (metadata["uid"], reason, message)
        name, count = self._sent.get(key, (f"{metadata['name']}.{secrets.token_hex(8)}", 0))
        self._sent[key] = (name, count + 1)
        if count:
            await self._api.patch(f"{path}/{name}", {"count": count + 1, "lastTimestamp": now()})
            return
        reference = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
        event = {
            "metadata": {"name": name},
            "involvedObject": {"kind": "Pod", "apiVersion": "v1", **reference},
            "reason": reason,
            "message": message,
            "type": severity,
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        await self._api.post(path, event)
