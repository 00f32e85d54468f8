"""A node that runs processes, and pods on it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster.cluster import Cluster, wait_for

IMAGE = "finetune-trainer:local"
NODE = "node-processes"


class Pods:
    """Pods of one namespace, bound to one node without the scheduler."""

    def __init__(self, cluster: Cluster, namespace: str, node: str) -> None:
        self.cluster, self.namespace, self.node = cluster, namespace, node

    def kubectl(self, *words: str, **how: Any) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, **how)

    def run(self, name: str, script: str, container: dict | None = None, **spec: Any) -> None:
        """Create a pod whose only container runs a shell script."""
        main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
        self.create(name, [main | (container or {})], **spec)

    def create(self, name: str, containers: list[dict], **spec: Any) -> None:
        spec = {"nodeName": self.node, "restartPolicy": "Never", "containers": containers} | spec
        meta = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def get(self, name: str) -> dict[str, Any] | None:
        found = self.kubectl("get", "pod", name, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else None

    def until(self, name: str, condition: Callable[[dict], Any], seconds: float = 30) -> dict:
        """The pod, once the condition holds of it."""

        def holds() -> dict | None:
            pod = self.get(name)
            return pod if pod and condition(pod) else None

        return wait_for(holds, what=f"pod {name}", seconds=seconds)

    def until_phase(self, name: str, *phases: str, seconds: float = 30) -> dict:
        return self.until(name, lambda pod: pod["status"].get("phase") in phases, seconds)

    @staticmethod
    def state(pod: dict[str, Any]) -> dict[str, Any]:
        """The state of the first container, empty while none is reported."""
        return (pod["status"].get("containerStatuses") or [{"state": {}}])[0]["state"]

    def ended(self, name: str, seconds: float = 30) -> dict[str, Any]:
        """The terminated state of the first container of a pod that runs to its end."""
        pod = self.until_phase(name, "Succeeded", "Failed", seconds=seconds)
        return self.state(pod)["terminated"]

    def events(self, name: str) -> list[dict]:
        chosen = f"involvedObject.name={name}"
        return json.loads(
            self.kubectl("get", "events", f"--field-selector={chosen}", "-o", "json")
        )["items"]


@pytest.fixture(scope="session")
def node(cluster: Cluster) -> Iterator[str]:
    """The name of a node that runs pods as processes."""
    cluster.add_node(NODE)
    yield NODE
    cluster.stop_program(NODE)


@pytest.fixture
def pods(cluster: Cluster, namespace: str, node: str) -> Pods:
    """Pods in a namespace of this test's own, whose account is there."""
    _await_account(cluster, namespace)
    return Pods(cluster, namespace, node)


@pytest.fixture
def pods_on(cluster: Cluster, namespace: str) -> Callable[[str], Pods]:
    """The same on a node that the test brings."""
    _await_account(cluster, namespace)
    return lambda name: Pods(cluster, namespace, name)


def _await_account(cluster: Cluster, namespace: str) -> None:
    account = ("-n", namespace, "get", "serviceaccount", "default", "-o", "name")
    wait_for(
        lambda: cluster.kubectl(*account, check=False).startswith("serviceaccount/"),
        what="the service account", seconds=20,
    )  # fmt: skip
