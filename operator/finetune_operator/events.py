"""Tells transitions as Kubernetes events, where `kubectl describe` shows them.

An event's name is made from what it tells, so telling it twice is refused by the API server. An
event that cannot be told is lost: the status says the same, and nothing waits for events.
"""

import hashlib
import logging
from typing import Any

from finetune_api.base import API_VERSION, KIND
from finetune_api.names import FIELD_MANAGER
from finetune_operator.cache import Manifest
from finetune_operator.kube import EVENTS, ApiError, Kube
from finetune_operator.status.conditions import timestamp
from finetune_operator.status.transitions import Event

log = logging.getLogger("finetune.events")

MESSAGE_LIMIT = 1024


class Recorder:
    """Writes events about jobs."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance

    async def tell(self, manifest: Manifest, event: Event, now: float) -> None:
        """Tell one transition, once."""
        try:
            await self._kube.create(EVENTS, document(manifest, event, self._instance, now))
        except ApiError as error:
            if not error.already_exists:
                name = manifest["metadata"]["name"]
                details = {"job": name, "reason": event.reason, "error": str(error)}
                log.warning("event not told", extra=details)


def document(manifest: Manifest, event: Event, instance: str, now: float) -> dict[str, Any]:
    """The event as an object."""
    metadata = manifest["metadata"]
    identity = f"{metadata['uid']}/{event.reason}/{event.key}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    time = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MESSAGE_LIMIT],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
