"""kopf, and nothing but its watch streams: they fill the cache and enqueue keys.

No stateful handlers, daemons, timers, finalizers, annotations or admission: kopf writes nothing to
the cluster. Indexing is used for one thing only, its start-up barrier: no key is enqueued before
every kind has been listed, so no pass acts on half a picture.
"""

import asyncio
import dataclasses
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import kopf

from finetune_operator.cache import CACHED, Cache
from finetune_operator.kube import Credentials, Resource
from finetune_operator.metrics import Metrics
from finetune_operator.settings import Settings
from finetune_operator.workqueue import Key, WorkQueue

log = logging.getLogger("finetune.handlers")


class Backoffs(Iterable[float]):
    """Delays between retries, without end: kopf stops the whole process when they run out. Each
    iteration starts anew."""

    def __iter__(self) -> Iterator[float]:
        for attempt in itertools.count():
            yield min(30.0, 0.5 * 2.0 ** min(attempt, 6)) * random.uniform(0.8, 1.2)  # noqa: S311


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing: no handler of ours compares versions."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


class NoProgress(kopf.ProgressStorage):
    """Remembers nothing: no handler of ours is retried by kopf."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def kopf_settings() -> kopf.OperatorSettings:
    """Only what differs from kopf's defaults, each for a failure that was seen."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = 30
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 0.5
    settings.watching.server_timeout = 290
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = 1
    settings.watching.chunk_size = 500
    for resource, labels in CACHED.items():
        if labels:
            settings.watching.label_selectors[_selector(resource)] = labels
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Backoffs()
    settings.networking.enforce_retry_after = True
    settings.persistence.finalizer = "finetune.dev/unused"
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    return settings


def registry(
    cache: Cache,
    queue: WorkQueue,
    metrics: Metrics,
    *,
    credentials: Callable[[], Awaitable[Credentials]],
    on_cleanup: Callable[[], Any],
) -> kopf.OperatorRegistry:
    """The handlers: index and event of each watched kind, login, clean-up."""
    handlers = kopf.OperatorRegistry()
    kopf.on.login(registry=handlers)(_login(credentials))
    kopf.on.cleanup(registry=handlers)(_cleanup(on_cleanup))
    for resource in CACHED:
        arguments = _selector(resource)
        indexed, seen = _feed(resource, cache, queue, metrics)
        kopf.index(*arguments, registry=handlers, id=f"cache-{resource.plural}")(indexed)
        kopf.on.event(*arguments, registry=handlers, id=f"event-{resource.plural}")(seen)
    return handlers


async def watch(
    settings: Settings, handlers: kopf.OperatorRegistry, *, ready: asyncio.Event
) -> None:
    """Watch until the process is told to stop. ``ready`` is set once all kinds are listed."""
    await kopf.operator(
        registry=handlers,
        settings=kopf_settings(),
        namespaces=list(settings.namespaces),
        clusterwide=not settings.namespaces,
        ready_flag=ready,
    )


def _selector(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


def _feed(
    resource: Resource, cache: Cache, queue: WorkQueue, metrics: Metrics
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    async def indexed(body: kopf.Body, **_: Any) -> None:
        cache.put(resource, dict(body))

    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        manifest: dict[str, Any] = dict(event["object"])
        kind = event["type"]
        metrics.watch_event(resource.plural, kind or "LISTED")
        key: Key | None
        if kind == "DELETED":
            key = cache.remove(resource, manifest)
        else:
            key = cache.put(resource, manifest)
        if key is not None:
            queue.add(key)

    return indexed, seen


def _login(credentials: Callable[[], Awaitable[Credentials]]) -> Callable[..., Any]:
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**dataclasses.asdict(await credentials()))

    return login


def _cleanup(on_cleanup: Callable[[], Any]) -> Callable[..., Any]:
    async def cleanup(**_: Any) -> None:
        await on_cleanup()

    return cleanup
