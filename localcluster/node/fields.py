"""The downward API: what a pod may learn about itself, in variables and files."""

import re
from dataclasses import dataclass
from typing import Any

from localcluster.node.network import pod_address
from localcluster.node.quantity import divided

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


@dataclass(frozen=True)
class Fields:
    """The fields of one pod on one node."""

    pod: dict[str, Any]
    node: str
    host: str
    capacity: dict[str, str]

    def field(self, path: str) -> str:
        """The value of a fieldRef."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        if found := _SUBSCRIPT.fullmatch(path):
            return metadata.get(found[1], {}).get(found[2], "")
        if path in {"metadata.labels", "metadata.annotations"}:
            entries = metadata.get(path.removeprefix("metadata."), {})
            return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
        return {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": self.node,
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
            "status.hostIP": self.host,
            "status.hostIPs": self.host,
            "status.podIP": pod_address(self.pod),
            "status.podIPs": pod_address(self.pod),
        }[path]

    def resource(self, reference: dict[str, Any], container: str) -> str:
        """The value of a resourceFieldRef; without a limit the node's capacity."""
        named = reference.get("containerName", container)
        spec = self.pod["spec"]
        every = [*spec["containers"], *spec.get("initContainers", [])]
        resources = next(c for c in every if c["name"] == named).get("resources", {})
        group, _, resource = reference["resource"].partition(".")
        amount = resources.get(group, {}).get(resource)
        if amount is None:
            amount = self.capacity.get(resource, "0") if group == "limits" else "0"
        return divided(amount, reference.get("divisor"))
