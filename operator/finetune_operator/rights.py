"""The rights the operator needs, once: tests, the demo and the chart make their roles from it."""

from typing import Any

RBAC = "rbac.authorization.k8s.io"
LEASE = "finetune-operator"

RULES: tuple[dict[str, Any], ...] = (
    {
        "apiGroups": ["finetune.dev"],
        "resources": ["finetunejobs"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["finetune.dev"], "resources": ["finetunejobs/status"], "verbs": ["patch"]},
    {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": ["get", "list", "watch", "create", "delete"],
    },
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch", "create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "create"]},
)
"""In the namespaces it serves. No Secrets, no CRDs, no webhooks, no writes to pods."""

LEASE_RULES: tuple[dict[str, Any], ...] = (
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [LEASE],
        "verbs": ["get", "update"],
    },
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
)
"""In its own namespace. Creation cannot be limited to a name: it is not authorised by name."""


def manifests(
    *,
    name: str = "finetune-operator",
    namespace: str = "finetune-system",
    namespaces: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """A service account and roles that carry exactly these rights: in the namespaces that are
    served or, without any, in the whole cluster."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
    }
    objects = [account, *_granted("", f"{name}-lease", namespace, LEASE_RULES, subject)]
    if not namespaces:
        return [*objects, *_granted("Cluster", name, "", RULES, subject)]
    for served in namespaces:
        objects += _granted("", name, served, RULES, subject)
    return objects


def _granted(
    scope: str,
    name: str,
    namespace: str,
    rules: tuple[dict[str, Any], ...],
    subject: dict[str, str],
) -> list[dict[str, Any]]:
    """A role and its binding. ``scope`` is what comes before their kinds' names."""
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{scope}Role",
            "metadata": metadata,
            "rules": [dict(rule) for rule in rules],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{scope}RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": f"{scope}Role", "name": name},
            "subjects": [subject],
        },
    ]
