"""Who leads: one process holds the Lease and works, the others stand by.

Clocks of two machines are never compared. A holder counts itself as such until a fixed time after
it *sent* its last successful renewal; the others count it as gone only when its record has not
changed for longer than that on their own clock. So the old one stops before a new one starts.
"""

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from finetune_operator.cache import Manifest
from finetune_operator.kube import LEASES, ApiError, Kube
from finetune_operator.metrics import Metrics
from finetune_operator.workqueue import Key

log = logging.getLogger("finetune.lease")

DURATION = 15
"""Seconds without a change after which a record is void."""
RENEW_DEADLINE = 10.0
"""Seconds that a renewal may take from when it was due. With RETRY it leaves 3 s to stop in."""
RETRY = 2.0
"""Seconds between two renewals, or two looks of a standby."""
ATTEMPT = 5.0
"""Seconds for one request: a connection that hangs leaves time for another one."""


@dataclass(frozen=True)
class Sighting:
    """What the Lease says, and since when on our clock it has said so."""

    lease: Manifest
    since: float


def seen(before: Sighting | None, lease: Manifest, now: float) -> Sighting:
    """The sighting after another look. Only what the Lease says makes it new, not its metadata."""
    if before is not None and before.lease.get("spec") == lease.get("spec"):
        return Sighting(lease, before.since)
    return Sighting(lease, now)


def may_take(sighting: Sighting | None, identity: str, now: float) -> bool:
    """Whether nobody else holds the Lease. None: it does not exist."""
    if sighting is None or holder(sighting.lease) in ("", identity):
        return True
    return expires_in(sighting, now) <= 0


def expires_in(sighting: Sighting, now: float) -> float:
    """Seconds until the record is void if it does not change."""
    duration = (sighting.lease.get("spec") or {}).get("leaseDurationSeconds") or DURATION
    return float(sighting.since + duration - now)


def holder(lease: Manifest) -> str:
    """Who holds it; empty when it was released."""
    return (lease.get("spec") or {}).get("holderIdentity") or ""


def claimed(lease: Manifest, identity: str, wall: datetime) -> Manifest:
    """The Lease as this process writes it: taken over, or renewed."""
    spec: dict[str, Any] = dict(lease.get("spec") or {})
    time = wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if holder(lease) != identity:
        spec["acquireTime"] = time
        spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
    spec |= {"holderIdentity": identity, "leaseDurationSeconds": DURATION, "renewTime": time}
    return {**lease, "spec": spec}


def released(lease: Manifest, wall: datetime) -> Manifest:
    """The Lease as its holder leaves it: anybody may take it at once."""
    spec = claimed(lease, holder(lease), wall)["spec"]
    return {**lease, "spec": {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}}


class LeaseLostError(Exception):
    """Somebody else may lead now: this process must end."""


class Leadership(Protocol):
    """The right to act."""

    async def acquire(self) -> None:
        """Return once this process leads."""

    async def hold(self) -> None:
        """Lead for as long as possible; ends with LeaseLostError."""

    async def is_held(self) -> bool:
        """Whether this process leads right now: asked before anything is destroyed."""

    async def release(self) -> None:
        """Lead no longer."""


class Alone:
    """Leads always: the only operator of its cluster, on a laptop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def acquire(self) -> None:
        """Nobody else is asked."""
        self._metrics.leader.set(1)

    async def hold(self) -> None:
        """For ever."""
        await asyncio.Event().wait()

    async def is_held(self) -> bool:
        """Always."""
        return True

    async def release(self) -> None:
        """Nobody waits for it."""
        self._metrics.leader.set(0)


class Elector:
    """Leads while it holds a Lease. ``identity`` is this process and no other: a container that
    starts again must not take itself for its predecessor."""

    def __init__(self, kube: Kube, place: Key, identity: str, metrics: Metrics) -> None:
        self._kube = kube
        self._place = place
        self._identity = identity
        self._metrics = metrics
        self._sighting: Sighting | None = None
        self._sent = 0.0
        self._leads = False

    async def acquire(self) -> None:
        """Look at the Lease until it can be taken."""
        told = ""
        while not self._leads:
            started = _now()
            try:
                async with asyncio.timeout(ATTEMPT):
                    await self._try_to_take()
                news = self._standing()
            except (ApiError, TimeoutError) as error:
                news = f"the lease {self._place} cannot be read or written: {_said(error)}"
            if news != told:
                log.info("leads" if self._leads else "standby", extra={"why": news})
                told = news
            if not self._leads:
                await asyncio.sleep(self._pause(started))

    async def hold(self) -> None:
        """Renew until a renewal fails for too long, or somebody else holds the Lease."""
        while True:
            await asyncio.sleep(self._sent + RETRY - _now())
            try:
                async with asyncio.timeout_at(self._until()):
                    await self._renew()
            except TimeoutError:
                self._lose()
                late = _now() - self._sent
                why = f"the lease {self._place} was not renewed for {late:.1f} s"
                raise LeaseLostError(why) from None

    async def is_held(self) -> bool:
        """By our clock and by the Lease as it is now."""
        if not self._leads or _now() >= self._until():
            return False
        lease = await self._kube.get(LEASES, self._place.namespace, self._place.name)
        return self._leads and holder(lease) == self._identity and _now() < self._until()

    async def release(self) -> None:
        """Leave the Lease to the next one, if it is ours to leave."""
        if not self._leads:
            return
        self._lose()
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(RETRY):
                await self._look()  # A renewal that was cut short may have been written.
                if self._sighting is None or holder(self._sighting.lease) != self._identity:
                    return
                await self._kube.replace(LEASES, released(self._sighting.lease, _wall()))
                log.info("lease released", extra={"lease": str(self._place)})

    async def _try_to_take(self) -> None:
        await self._look()
        if may_take(self._sighting, self._identity, _now()):
            await self._write()

    async def _renew(self) -> None:
        while True:
            started = _now()
            if started >= self._until():
                raise TimeoutError
            try:
                async with asyncio.timeout(ATTEMPT):
                    await self._write()
                return
            except ApiError as error:
                said: Exception = error
                if error.is_conflict or error.is_missing or error.already_exists:
                    said = await self._who_wrote() or error
            except TimeoutError as error:
                said = error
            log.warning("lease not renewed", extra={"error": _said(said)})
            await asyncio.sleep(started + RETRY - _now())

    async def _who_wrote(self) -> Exception | None:
        """Look who has written the Lease: ourselves, with an answer that was lost, or another."""
        try:
            async with asyncio.timeout(ATTEMPT):
                await self._look()
        except (ApiError, TimeoutError) as error:
            return error
        if self._sighting is not None and holder(self._sighting.lease) != self._identity:
            self._lose()
            other = holder(self._sighting.lease) or "nobody"
            raise LeaseLostError(f"the lease {self._place} is held by {other}")
        return None

    async def _look(self) -> None:
        try:
            lease = await self._kube.get(LEASES, self._place.namespace, self._place.name)
        except ApiError as error:
            if not error.is_missing:
                raise
            if self._leads or may_take(self._sighting, self._identity, _now()):
                self._sighting = None  # Else its holder may not know yet that it was deleted.
        else:
            self._sighting = seen(self._sighting, lease, _now())

    async def _write(self) -> None:
        sent = _now()
        if self._sighting is None:
            metadata = {"name": self._place.name, "namespace": self._place.namespace}
            blank = {
                "apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata
            }  # fmt: skip
            written = await self._kube.create(LEASES, claimed(blank, self._identity, _wall()))
        else:
            body = claimed(self._sighting.lease, self._identity, _wall())
            written = await self._kube.replace(LEASES, body)
        self._sighting = Sighting(written, _now())
        self._sent = sent
        self._leads = True
        self._metrics.leader.set(1)

    def _until(self) -> float:
        return self._sent + RETRY + RENEW_DEADLINE

    def _lose(self) -> None:
        self._leads = False
        self._metrics.leader.set(0)

    def _standing(self) -> str:
        if self._leads:
            return f"holds the lease {self._place} as {self._identity}"
        other = holder(self._sighting.lease) if self._sighting is not None else ""
        return f"the lease {self._place} is held by {other or 'nobody'}"

    def _pause(self, started: float) -> float:
        """Until the next look: short enough to find a released Lease soon, spread over standbys."""
        rest = started + RETRY * random.uniform(0.8, 1.0) - _now()  # noqa: S311
        if self._sighting is not None:
            rest = min(rest, max(0.05, expires_in(self._sighting, _now())))
        return max(0.0, rest)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _wall() -> datetime:
    return datetime.now(tz=UTC)


def _said(error: Exception) -> str:
    return str(error) or "no answer in time"
