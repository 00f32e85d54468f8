"""Does what was decided: creates, deletes, writes the status. Every write repeated is a no-op.

Names decide on creation: an object that exists already is ours if its controller is, and somebody
else's otherwise. Nothing is deleted on the word of the cache alone.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from secrets import token_hex
from typing import Any

from finetune_api.job import FineTuneJob
from finetune_api.status import FineTuneJobStatus
from finetune_operator.cache import Cache, Manifest
from finetune_operator.children import child_job, is_controlled_by, stranger
from finetune_operator.kube import FINETUNEJOBS, JOBS, SERVICES, ApiError, Kube, Resource
from finetune_operator.metrics import Metrics
from finetune_operator.plan.actions import (
    Action,
    CreatePrepareJob,
    CreateService,
    CreateTrainJob,
    DeleteJob,
)
from finetune_operator.plan.snapshot import Finding, FindingKind
from finetune_operator.render.metadata import Owner
from finetune_operator.render.prepare_job import prepare_job
from finetune_operator.render.service import service
from finetune_operator.render.train_job import train_job
from finetune_operator.settings import Settings
from finetune_operator.workqueue import Key

log = logging.getLogger("finetune.apply")


class StaleError(Exception):
    """The world is not what the decision was made for: look again, then decide again."""


class Applier:
    """The only writer. ``leads`` tells whether this process may still destroy anything."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        metrics: Metrics,
        settings: Settings,
        leads: Callable[[], Awaitable[bool]],
    ) -> None:
        self._leads = leads
        self._kube = kube
        self._cache = cache
        self._metrics = metrics
        self._settings = settings

    async def apply(
        self, action: Action, key: Key, manifest: Manifest, job: FineTuneJob, now: float
    ) -> tuple[str, Finding | None]:
        """Do one thing. Which child it was about, and what kept it from being created."""
        metadata = manifest["metadata"]
        owner = Owner(key.namespace, key.name, metadata["uid"], metadata.get("generation", 0))
        match action:
            case CreatePrepareJob():
                body = prepare_job(job, owner, self._settings)
                return "prepare", await self._create(JOBS, key, owner, body, now)
            case CreateService():
                return "service", await self._create(SERVICES, key, owner, service(owner), now)
            case CreateTrainJob(prepared, avoid):
                token = token_hex(16)
                body = train_job(job, owner, prepared, token, self._settings, avoid=avoid)
                return "train", await self._create(JOBS, key, owner, body, now)
            case DeleteJob():
                await self._delete(action, key, manifest)
                return "", None

    async def _create(
        self, resource: Resource, key: Key, owner: Owner, body: Mapping[str, Any], now: float
    ) -> Finding | None:
        name = body["metadata"]["name"]
        try:
            created = await self._kube.create(resource, body)
        except ApiError as error:
            if error.already_exists:
                return await self._adopt(resource, key, owner, name, now)
            if error.is_refusal:
                about = f"{resource.kind} {key.namespace}/{name}"
                return Finding(FindingKind.REFUSED, about, error.message, now)
            raise
        log.info("created", extra={"job": str(key), "kind": resource.kind, "object": name})
        self._cache.put(resource, created, owner=key)
        return None

    async def _adopt(
        self, resource: Resource, key: Key, owner: Owner, name: str, now: float
    ) -> Finding | None:
        try:
            existing = await self._kube.get(resource, key.namespace, name)
        except ApiError as error:
            if error.is_missing:
                raise StaleError(f"{name} went away") from error
            raise
        if is_controlled_by(existing, owner.uid):
            self._cache.put(resource, existing, owner=key)
            return None
        return stranger(resource, existing, key, now)

    async def _delete(self, action: DeleteJob, key: Key, manifest: Manifest) -> None:
        await self._confirm(key, manifest)
        try:
            child = await self._kube.get(JOBS, key.namespace, action.name)
        except ApiError as error:
            if not error.is_missing:
                raise
            raise StaleError(f"{action.name} is gone already") from error
        self._cache.put(JOBS, child, owner=key)
        is_ours = is_controlled_by(child, manifest["metadata"]["uid"])
        seen = child_job(child)
        if seen.uid != action.uid or not is_ours or seen.is_deleting:
            raise StaleError(f"{action.name} is another one now")
        if seen.is_finished and not action.even_finished:
            raise StaleError(f"{action.name} has ended meanwhile")
        if not await self._leads():
            raise StaleError("this process does not lead any more")
        answer = await self._kube.delete(JOBS, key.namespace, action.name, uid=action.uid)
        if answer.get("kind") == "Job":
            self._cache.put(JOBS, answer, owner=key)
        details = {"job": str(key), "object": action.name, "why": action.why}
        log.info("deleted", extra=details)

    async def _confirm(self, key: Key, manifest: Manifest) -> None:
        """The job itself still is and says what the decision was made for."""
        try:
            live = await self._kube.get(FINETUNEJOBS, key.namespace, key.name)
        except ApiError as error:
            if not error.is_missing:
                raise
            raise StaleError("the job is gone") from error
        now, then = live["metadata"], manifest["metadata"]
        is_same = (now["uid"], now.get("generation")) == (then["uid"], then.get("generation"))
        if not is_same or "deletionTimestamp" in now:
            self._cache.put(FINETUNEJOBS, live)
            raise StaleError("the job has changed meanwhile")

    async def write_status(
        self, key: Key, manifest: Manifest, before: FineTuneJobStatus, after: FineTuneJobStatus
    ) -> bool:
        """Write the difference, if there is one, unless somebody wrote first."""
        change = merge_patch(before.to_wire(), after.to_wire())
        if not change:
            return False
        version = manifest["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "status": change}
        written = await self._kube.patch_status(FINETUNEJOBS, key.namespace, key.name, body)
        self._cache.put(FINETUNEJOBS, written)
        self._metrics.status_patched()
        return True


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) from one document to another; empty when they are equal."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if old == value:
            continue
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        patch[name] = merge_patch(old, value) if both else value  # type: ignore[arg-type]
    return patch
