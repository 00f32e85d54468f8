"""Finds what the watches have missed: lists every kind now and then and mends the difference.

A watch never reports what vanished while it was down, and one that freezes reports nothing. Only
names and versions are listed; what differs is read live before anything is believed. In health
there is no difference, so each one is counted.
"""

import asyncio
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from finetune_operator.cache import CACHED, Cache, Manifest, version_of
from finetune_operator.kube import ApiError, Kube, Resource
from finetune_operator.metrics import Metrics
from finetune_operator.workqueue import Key, Priority, WorkQueue

log = logging.getLogger("finetune.sweep")

GRACE = 5.0
"""How long the watch may be behind a list before it has missed something."""
RESTARTS = 3
"""How often a list may begin anew because its snapshot was gone before its last page."""


class Kind(StrEnum):
    """What is wrong with the cache."""

    GHOST = "ghost"
    UNKNOWN = "unknown"
    STALE = "stale"


@dataclass(frozen=True)
class Listing:
    """The objects of a kind at one moment, without spec and status."""

    version: int
    items: dict[Key, Manifest]


@dataclass(frozen=True)
class Difference:
    """An object that the cache and a list disagree about, as the better informed one has it."""

    kind: Kind
    manifest: Manifest

    @property
    def place(self) -> Key:
        """Where it is, or was."""
        metadata = self.manifest["metadata"]
        return Key(metadata["namespace"], metadata["name"])


def differences(
    cache: Cache, resource: Resource, namespace: str, listing: Listing
) -> list[Difference]:
    """Where the cache is behind the list; where it is ahead, it is right."""
    return [*_ghosts(cache, resource, namespace, listing), *_news(cache, resource, listing)]


def _ghosts(
    cache: Cache, resource: Resource, namespace: str, listing: Listing
) -> Iterator[Difference]:
    for known in cache.objects(resource, namespace):
        place = Key(known["metadata"]["namespace"], known["metadata"]["name"])
        if place not in listing.items and version_of(known) <= listing.version:
            yield Difference(Kind.GHOST, known)


def _news(cache: Cache, resource: Resource, listing: Listing) -> Iterator[Difference]:
    for place, listed in listing.items.items():
        if cache.is_news(resource, listed):
            is_known = cache.get(resource, place) is not None
            yield Difference(Kind.STALE if is_known else Kind.UNKNOWN, listed)


class Sweeper:
    """Compares and mends, every few minutes."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        queue: WorkQueue,
        metrics: Metrics,
        *,
        namespaces: tuple[str, ...],
        interval: float,
        grace: float = GRACE,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._queue = queue
        self._metrics = metrics
        self._namespaces = namespaces or ("",)
        self._interval = interval
        self._grace = grace
        self._swept = self._tried = _now()

    async def work(self) -> None:
        """Sweep for ever. One that fails is made good by the next one."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311
            try:
                await self.sweep()
            except ApiError as error:
                self._metrics.sweep_ended("error")
                log.warning("sweep not finished", extra={"error": str(error)})
            else:
                self._metrics.sweep_ended("ok")
                self._swept = _now()
            self._tried = _now()

    async def sweep(self) -> None:
        """Look through all kinds once."""
        places = [(resource, namespace) for resource in CACHED for namespace in self._namespaces]
        lists = [(*place, await self._list(*place)) for place in places]
        if not any(differences(self._cache, *one) for one in lists):
            return
        await asyncio.sleep(self._grace)
        for resource, namespace, listing in lists:
            for found in differences(self._cache, resource, namespace, listing):
                await self._mend(resource, found, listing)

    def age(self) -> float:
        """How long ago the cache was last known to be right."""
        return _now() - self._swept

    def is_stuck(self) -> bool:
        """Whether not even an attempt has ended for long: a failed one is an end too."""
        return _now() - self._tried > 3 * self._interval + 600

    async def _list(self, resource: Resource, namespace: str) -> Listing:
        for _ in range(RESTARTS):
            try:
                return await self._pages(resource, namespace)
            except ApiError as error:
                if not error.is_expired:
                    raise
        return await self._pages(resource, namespace)

    async def _pages(self, resource: Resource, namespace: str) -> Listing:
        items: dict[Key, Manifest] = {}
        continuation = ""
        while True:
            page = await self._kube.metadata_page(
                resource, namespace, CACHED[resource], continuation
            )
            for item in page.get("items") or []:
                items[Key(item["metadata"]["namespace"], item["metadata"]["name"])] = item
            continuation = page["metadata"].get("continue") or ""
            if not continuation:
                return Listing(version_of(page), items)

    async def _mend(self, resource: Resource, found: Difference, listing: Listing) -> None:
        live = await self._live(resource, found.place)
        metadata = found.manifest["metadata"]
        is_there = live is not None and live["metadata"]["uid"] == metadata["uid"]
        kind = found.kind
        if kind is Kind.GHOST and not is_there:
            last = {**metadata, "resourceVersion": str(listing.version)}
            owner = self._cache.remove(resource, {**found.manifest, "metadata": last})
        elif live is not None and self._cache.is_news(resource, live):
            kind = Kind.UNKNOWN if kind is Kind.UNKNOWN else Kind.STALE
            owner = self._cache.put(resource, live)
        else:
            return
        self._metrics.sweep_difference(resource.plural, kind)
        details = {"kind": resource.kind, "object": str(found.place), "difference": kind}
        log.warning("the watch has missed something", extra={**details, "job": str(owner)})
        if owner is not None:
            self._queue.add(owner, Priority.SWEEP)

    async def _live(self, resource: Resource, place: Key) -> Manifest | None:
        try:
            return await self._kube.get(resource, place.namespace, place.name)
        except ApiError as error:
            if not error.is_missing:
                raise
            return None


def _now() -> float:
    return asyncio.get_running_loop().time()
