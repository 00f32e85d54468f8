"""The frozen picture that a pass decides on, read from the cache.

Only what no watch shows is asked for: the warning events of children that stand still, and whether
a foreign object still occupies a child's name. An answer that does not come is no observation.
"""

import logging
from collections.abc import Iterable

from finetune_api import names
from finetune_api.progress import ProgressReport
from finetune_operator.cache import Cache, Manifest
from finetune_operator.children import (
    child_job,
    child_name,
    is_controlled_by,
    pod_view,
    seconds,
    stranger,
)
from finetune_operator.kube import EVENTS, JOBS, PODS, SERVICES, ApiError, Kube, Resource
from finetune_operator.plan.blocked import needs_events
from finetune_operator.plan.snapshot import (
    ChildJob,
    Finding,
    FindingKind,
    Observed,
    PodView,
    Warning,
)
from finetune_operator.settings import Settings
from finetune_operator.workqueue import Key

log = logging.getLogger("finetune.observe")

CHILDREN: dict[str, Resource] = {"prepare": JOBS, "service": SERVICES, "train": JOBS}
FINDING_LIFETIME = 20.0
"""How long a foreign object is believed to exist without a new look."""


class Observer:
    """Makes pictures, and remembers what creations have run into."""

    def __init__(self, cache: Cache, kube: Kube, settings: Settings) -> None:
        self._cache = cache
        self._kube = kube
        self._settings = settings
        self._findings: dict[Key, dict[str, Finding]] = {}
        self._refreshed: dict[Key, float] = {}

    async def observe(
        self, key: Key, manifest: Manifest, progress: ProgressReport | None, now: float
    ) -> Observed:
        """The picture of one job."""
        uid = manifest["metadata"]["uid"]
        findings = await self._current_findings(key, uid, now)
        jobs: dict[str, ChildJob | None] = {"prepare": None, "train": None}
        for role in jobs:
            found = self._cache.get(JOBS, Key(key.namespace, child_name(role, key.name)))
            if found is not None and is_controlled_by(found, uid):
                jobs[role] = child_job(found)
        service = self._cache.get(SERVICES, Key(key.namespace, names.service(key.name)))
        pods = {role: self._pods(key, child) for role, child in jobs.items()}
        return Observed(
            generation=int(manifest["metadata"].get("generation") or 0),
            is_deleting="deletionTimestamp" in manifest["metadata"],
            namespace_is_dying=await self._namespace_is_dying(key, pods["train"]),
            prepare=jobs["prepare"],
            train=jobs["train"],
            has_service=service is not None and is_controlled_by(service, uid),
            prepare_pods=pods["prepare"],
            train_pods=pods["train"],
            progress=progress,
            warnings=await self._warnings(key, jobs, pods, now),
            findings=findings,
            refreshed_at=self._refreshed.get(key),
        )

    def found(self, key: Key, child: str, finding: Finding) -> None:
        """Remember what kept a child from being created."""
        self._findings.setdefault(key, {})[child] = finding

    def created(self, key: Key, child: str) -> None:
        """Forget what had kept it from being created."""
        self._findings.get(key, {}).pop(child, None)

    def refreshed(self, key: Key, now: float) -> None:
        """Remember when the status was last written."""
        self._refreshed[key] = now

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        self._findings.pop(key, None)
        self._refreshed.pop(key, None)

    async def _current_findings(self, key: Key, uid: str, now: float) -> dict[str, Finding]:
        """What stands in the way: seen in the cache, or found at creation and still true."""
        known = self._findings.setdefault(key, {})
        for child, resource in CHILDREN.items():
            name = child_name(child, key.name)
            cached = self._cache.get(resource, Key(key.namespace, name))
            finding = known.get(child)
            if cached is not None:
                known.pop(child, None)
                if not is_controlled_by(cached, uid):
                    known[child] = stranger(resource, cached, key, now)
            elif finding is not None and finding.kind is not FindingKind.REFUSED:
                lifetime = 0.5 if finding.kind is FindingKind.LEFTOVER else FINDING_LIFETIME
                if now - finding.at > lifetime:
                    await self._look_again(key, child, uid, now)
        if not known:
            del self._findings[key]
        return dict(known)

    async def _look_again(self, key: Key, child: str, uid: str, now: float) -> None:
        known = self._findings[key]
        resource, name = CHILDREN[child], child_name(child, key.name)
        try:
            live = await self._kube.get(resource, key.namespace, name)
        except ApiError as error:
            if error.is_missing:
                known.pop(child, None)
            return
        if is_controlled_by(live, uid):
            known.pop(child, None)
            self._cache.put(resource, live, owner=key)
        else:
            known[child] = stranger(resource, live, key, now)

    async def _namespace_is_dying(self, key: Key, pods: tuple[PodView, ...]) -> bool:
        """Asked when all pods of a gang are over and being deleted: they wait for replacements,
        which a namespace that is being deleted does not admit."""
        is_suspicious = pods and all(pod.is_deleting and pod.has_ended for pod in pods)
        return bool(is_suspicious) and await self._kube.is_dying(key.namespace)

    def _pods(self, key: Key, child: ChildJob | None) -> tuple[PodView, ...]:
        """Pods whose controller is exactly this Job: a label alone is anybody's claim."""
        if child is None:
            return ()
        children = self._cache.children(PODS, key)
        return tuple(pod_view(p) for p in children if is_controlled_by(p, child.uid))

    async def _warnings(
        self,
        key: Key,
        jobs: dict[str, ChildJob | None],
        pods: dict[str, tuple[PodView, ...]],
        now: float,
    ) -> tuple[Warning, ...]:
        warnings: list[Warning] = []
        for role, child in jobs.items():
            if child is None or now - child.created_at < self._settings.patience:
                continue
            for uid in needs_events(child, pods[role])[:4]:
                try:
                    selector = f"involvedObject.uid={uid},type=Warning"
                    events = await self._kube.list(EVENTS, key.namespace, selector)
                except ApiError as error:
                    log.info("warnings not read", extra={"job": str(key), "error": str(error)})
                    continue
                warnings.extend(_newest_first(events))
        return tuple(warnings)


def _newest_first(events: Iterable[Manifest]) -> list[Warning]:
    warnings = [
        Warning(
            event["involvedObject"]["name"],
            event.get("reason", ""),
            event.get("message", ""),
            seconds(event.get("lastTimestamp") or event.get("eventTime")) or 0.0,
        )
        for event in events
    ]
    return sorted(warnings, key=lambda warning: warning.at, reverse=True)
