"""What the watches have shown, and what our own writes answered: the operator's view of the world.

A newer version wins whatever the order of arrival, and an object that was seen deleted never comes
back by a late answer. Children are found by their label; who really owns them is decided from
owner references elsewhere.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any

from finetune_api.names import LABEL_JOB
from finetune_operator.kube import FINETUNEJOBS, JOBS, PODS, Resource
from finetune_operator.workqueue import Key

Manifest = dict[str, Any]

REMEMBERED_DELETIONS = 10_000


class Cache:
    """Objects by kind and name, children also by the job they belong to."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Manifest]] = defaultdict(dict)
        self._children: dict[Resource, dict[Key, set[str]]] = defaultdict(dict)
        self._deleted: OrderedDict[str, int] = OrderedDict()

    def put(
        self, resource: Resource, manifest: Manifest, *, owner: Key | None = None
    ) -> Key | None:
        """Take an object in, unless something newer is known; the job it belongs to.

        ``owner`` is given for an object that was read by name: its label may have been removed.
        """
        owner = owner or owner_key(resource, manifest)
        metadata = manifest["metadata"]
        place = Key(metadata.get("namespace", ""), metadata["name"])
        known = self._objects[resource].get(place)
        is_gone = self._deleted.get(metadata["uid"], -1) > _version(manifest)
        if not is_gone and (known is None or _version(known) < _version(manifest)):
            self._objects[resource][place] = _trimmed(resource, manifest)
            if owner is not None and resource != FINETUNEJOBS:
                self._children[resource].setdefault(owner, set()).add(place.name)
        return owner

    def remove(self, resource: Resource, manifest: Manifest) -> Key | None:
        """Forget an object that was deleted; the job it belonged to."""
        metadata = manifest["metadata"]
        place = Key(metadata.get("namespace", ""), metadata["name"])
        self._deleted[metadata["uid"]] = _version(manifest)
        if len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)
        known = self._objects[resource].get(place)
        if known is not None and known["metadata"]["uid"] == metadata["uid"]:
            del self._objects[resource][place]
            owner = owner_key(resource, known)
            names = self._children[resource].get(owner) if owner is not None else None
            if owner is not None and names is not None:
                names.discard(place.name)
                if not names:
                    del self._children[resource][owner]
        return owner_key(resource, manifest)

    def get(self, resource: Resource, key: Key) -> Manifest | None:
        """One object by its own name."""
        return self._objects[resource].get(key)

    def children(self, resource: Resource, job: Key) -> Iterator[Manifest]:
        """Objects that carry the job's label."""
        for name in sorted(self._children[resource].get(job, ())):
            yield self._objects[resource][Key(job.namespace, name)]

    def count(self, resource: Resource) -> int:
        """Objects known of a kind."""
        return len(self._objects[resource])


def owner_key(resource: Resource, manifest: Manifest) -> Key | None:
    """The job that an object says it belongs to."""
    metadata = manifest["metadata"]
    if resource == FINETUNEJOBS:
        return Key(metadata["namespace"], metadata["name"])
    name = (metadata.get("labels") or {}).get(LABEL_JOB)
    return Key(metadata["namespace"], name) if name else None


def _version(manifest: Manifest) -> int:
    return int(manifest["metadata"].get("resourceVersion") or 0)


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
