"""Names, labels and owner references: what makes a child ours and lets garbage collection work."""

from dataclasses import dataclass
from typing import Any

from finetune_api import names
from finetune_api.base import API_VERSION, KIND


@dataclass(frozen=True)
class Owner:
    """The FineTuneJob that owns the children."""

    namespace: str
    name: str
    uid: str
    generation: int


def labels(owner: Owner, role: str) -> dict[str, str]:
    """Labels of every child and of its pods."""
    return {
        "app.kubernetes.io/name": "finetune-trainer",
        "app.kubernetes.io/instance": owner.name,
        "app.kubernetes.io/component": role,
        "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
        names.LABEL_JOB: owner.name,
        names.LABEL_ROLE: role,
    }


def metadata(
    owner: Owner, name: str, role: str, annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """Metadata of a child. Deleting the owner deletes it; ``controller`` says whose it is."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels(owner, role),
        "annotations": {names.ANNOTATION_GENERATION: str(owner.generation), **(annotations or {})},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
