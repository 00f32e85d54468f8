"""Brings a pod's status to the API server, and takes leave of the object in the end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from localcluster.node.api import Api, ApiError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
GONE = (404, 409)
"""The object is gone, or another has its name by now: nothing is left to say."""


class Reporter:
    """Sends what ``status`` returns whenever ``changed`` is set and it differs from the last."""

    def __init__(self, api: Api, pod: dict[str, Any], status: Callable[[], dict[str, Any]]) -> None:
        metadata = pod["metadata"]
        self.changed = asyncio.Event()
        self._api, self._uid, self._status = api, metadata["uid"], status
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._sent: dict[str, Any] | None = None
        self._sending = asyncio.Lock()

    def reconcile(self, found: dict[str, Any]) -> None:
        """Send again when somebody else has declared the pod unready, as happens to the pods of a
        node that was silent."""
        if self._sent is not None and _readiness(found) != _readiness(self._sent):
            self._sent = None
            self.changed.set()

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            await self.flush()

    async def flush(self) -> None:
        """Return when the current status has arrived. Statuses never overtake each other."""
        async with self._sending:
            await self._persist(self._send)

    async def say_farewell(self) -> None:
        """Remove the object, which the API server keeps until its node allows it."""
        await self._persist(lambda: self._api.delete(self._path, grace_seconds=0, uid=self._uid))

    async def _send(self) -> None:
        current = self._status()
        if current != self._sent:
            body = {"metadata": {"uid": self._uid}, "status": current}
            await self._api.patch(f"{self._path}/status", body)
            self._sent = current

    async def _persist(self, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await action()
            except ApiError as error:
                if error.code in GONE:
                    return None
                log.warning("%s: %s", self._path, error)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("%s: %s", self._path, error)
            await asyncio.sleep(RETRY_SECONDS)


def _readiness(status: dict[str, Any]) -> str | None:
    conditions = status.get("conditions", [])
    return next((c["status"] for c in conditions if c["type"] == "Ready"), None)
