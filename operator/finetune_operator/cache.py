"""What the watches have shown, and what our own writes answered: the operator's view of the world.

A newer version wins whatever the order of arrival, and an object that was seen deleted never comes
back by a late answer. Children are found by their label; who really owns them is decided from
owner references elsewhere.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_api.names import LABEL_JOB
from finetune_operator.kube import FINETUNEJOBS, JOBS, PODS, SERVICES, Resource
from finetune_operator.workqueue import Key

Manifest = dict[str, Any]

CACHED: Mapping[Resource, str] = {
    FINETUNEJOBS: "",
    JOBS: LABEL_JOB,
    PODS: LABEL_JOB,
    SERVICES: LABEL_JOB,
}
"""The kinds that are held, and the label selector that the API server is asked for them with."""

REMEMBERED_DELETIONS = 10_000


class Cache:
    """Objects by kind and name, children also by the job they belong to."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Manifest]] = defaultdict(dict)
        self._children: dict[Resource, dict[Key, set[str]]] = defaultdict(dict)
        self._owners: dict[Resource, dict[Key, Key]] = defaultdict(dict)
        self._deleted: OrderedDict[str, int] = OrderedDict()

    def put(
        self, resource: Resource, manifest: Manifest, *, owner: Key | None = None
    ) -> Key | None:
        """Take an object in, unless something newer is known; the job it belongs to.

        ``owner`` is given for an object that was read by name: its label may have been removed.
        """
        place = _place(manifest)
        owner = owner or owner_key(resource, manifest) or self._owners[resource].get(place)
        if self.is_news(resource, manifest):
            self._objects[resource][place] = _trimmed(resource, manifest)
            if owner is not None and resource != FINETUNEJOBS:
                self._let_go(resource, place)
                self._owners[resource][place] = owner
                self._children[resource].setdefault(owner, set()).add(place.name)
        return owner

    def is_news(self, resource: Resource, manifest: Manifest) -> bool:
        """Whether neither this version, nor a later one, nor its deletion is known."""
        known = self._objects[resource].get(_place(manifest))
        if self._deleted.get(manifest["metadata"]["uid"], -1) > version_of(manifest):
            return False
        return known is None or version_of(known) < version_of(manifest)

    def remove(self, resource: Resource, manifest: Manifest) -> Key | None:
        """Forget an object that was deleted; the job it belonged to."""
        place, uid = _place(manifest), manifest["metadata"]["uid"]
        self._deleted[uid] = version_of(manifest)
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        owner = owner_key(resource, manifest) or self._owners[resource].get(place)
        known = self._objects[resource].get(place)
        if known is not None and known["metadata"]["uid"] == uid:
            del self._objects[resource][place]
            self._let_go(resource, place)
        return owner

    def get(self, resource: Resource, key: Key) -> Manifest | None:
        """One object by its own name."""
        return self._objects[resource].get(key)

    def children(self, resource: Resource, job: Key) -> Iterator[Manifest]:
        """Objects that carry the job's label."""
        for name in sorted(self._children[resource].get(job, ())):
            yield self._objects[resource][Key(job.namespace, name)]

    def objects(self, resource: Resource, namespace: str) -> list[Manifest]:
        """Objects known of a kind, in a namespace or, without one, in all."""
        known = self._objects[resource].items()
        return [manifest for key, manifest in known if namespace in ("", key.namespace)]

    def _let_go(self, resource: Resource, place: Key) -> None:
        owner = self._owners[resource].pop(place, None)
        names = self._children[resource].get(owner) if owner is not None else None
        if owner is not None and names is not None:
            names.discard(place.name)
            if not names:
                del self._children[resource][owner]


def owner_key(resource: Resource, manifest: Manifest) -> Key | None:
    """The job that an object says it belongs to."""
    metadata = manifest["metadata"]
    if resource == FINETUNEJOBS:
        return Key(metadata["namespace"], metadata["name"])
    name = (metadata.get("labels") or {}).get(LABEL_JOB)
    return Key(metadata["namespace"], name) if name else None


def version_of(manifest: Manifest) -> int:
    """The resourceVersion; later ones are larger."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _place(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def _trimmed(resource: Resource, manifest: Manifest) -> Manifest:
    """The object without the parts nobody reads: they are most of its memory."""
    trimmed = dict(manifest)
    trimmed["metadata"] = {k: v for k, v in manifest["metadata"].items() if k != "managedFields"}
    spec = manifest.get("spec") or {}
    if resource == JOBS:
        trimmed["spec"] = {k: v for k, v in spec.items() if k != "template"}
    elif resource == PODS:
        containers = spec.get("containers") or []
        trimmed["spec"] = {
            "nodeName": spec.get("nodeName"),
            "containers": [
                {key: c[key] for key in ("name", "image", "resources") if key in c}
                for c in containers
            ],
        }
    return trimmed
