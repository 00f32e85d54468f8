"""The rights are those that are used: each verb belongs to a request that the operator sends, no
request is outside of them, and without any one of them the API server says 403."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from fault_proxy import FaultProxy
from kubernetes import client, config
from scripted_node import Stage
from world import Operator, World

from finetune_operator import rights
from localcluster.cluster import Cluster, wait_for
from localcluster.node.scripted import Fate

METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


class Right(NamedTuple):
    """One verb on one kind."""

    group: str
    resource: str
    verb: str


def granted(rules: tuple[Mapping[str, Any], ...]) -> Iterator[tuple[Right, tuple[str, ...]]]:
    """The rights of rules, each with the names it is limited to."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(group, resource, verb), tuple(rule.get("resourceNames", ()))


JOB_RIGHTS = dict(granted(rights.RULES))
LEASE_RIGHTS = dict(granted(rights.LEASE_RULES))


def used(world: World) -> dict[Right, str]:
    """What the operator has asked the API server for, each with one request's path."""
    found = {}
    for entry in world.cluster.requests(user=world.operator.user):
        if "objectRef" not in entry:
            assert entry["verb"] == "get", entry
            assert entry["requestURI"].startswith("/api"), "discovery, which everybody may"
            continue
        assert entry["annotations"]["authorization.k8s.io/decision"] == "allow", entry
        kind = "/".join(filter(None, (entry["resource"], entry.get("subresource"))))
        found[Right(entry.get("apiGroup", ""), kind, entry["verb"])] = entry["requestURI"]
    return found


def live_through_everything(world: World, proxy: FaultProxy) -> None:
    """A run that makes the operator send every kind of request it knows."""
    foreign = client.V1Service(
        metadata={"name": "taken-train"},
        spec={"clusterIP": "None", "ports": [{"port": 1}]},
    )
    world.core.create_namespaced_service(world.namespace, foreign)
    world.node.show(world.namespace, "blocked", "prepare", Fate(image_pending=True))
    for name in ("taken", "blocked", "tickets"):
        world.create(name)
    world.wait_reason("PodsReady", "AllReady")
    proxy.hides = lambda event: event["type"] == "DELETED" and event["object"]["kind"] == "Pod"
    world.change(suspend=True)
    world.wait_reason("PodsReady", "ChildConflict", "taken")
    world.wait_reason("DataReady", "ImagePullFailed", "blocked")
    ghosts = "finetune_operator_sweep_differences_total"
    world.wait(lambda: world.operator.metric(ghosts, resource="pods", kind="ghost"), "ghosts")
    proxy.hides = lambda _: False


class Accounts:
    """One account with all rights, and for each right one that lacks just this one."""

    def __init__(self, cluster: Cluster, namespace: str, is_namespaced: bool) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._trust = ssl.create_default_context(cafile=str(cluster.layout.certificates / "ca.crt"))
        self.lacking: dict[str, Right | None] = {"full": None}
        for number, right in enumerate((*JOB_RIGHTS, *LEASE_RIGHTS)):
            self.lacking[f"lacks-{number:02}"] = right
        served = (namespace,) if is_namespaced else ()
        objects = []
        for name, right in self.lacking.items():
            made = rights.manifests(
                name=f"{namespace}-{name}", namespace=namespace, namespaces=served
            )
            for document in made:
                if "rules" in document:
                    document["rules"] = without(document["rules"], right)
            objects += made
        cluster.apply(*objects)
        core = client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
        self._tokens = {
            name: core.create_namespaced_service_account_token(
                f"{namespace}-{name}", namespace, {"spec": {"expirationSeconds": 600}}
            ).status.token
            for name in self.lacking
        }

    def sends(self, name: str, right: Right, path: str) -> int:
        """The status code of a request by an account. Its body is empty, so it changes nothing."""
        method = METHODS.get(right.verb, "GET")
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self._cluster.server + path,
            method=method,
            data=None if method == "GET" else b"{}",
            headers={"Authorization": f"Bearer {self._tokens[name]}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._trust) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


def without(rules: list[dict[str, Any]], right: Right | None) -> list[dict[str, Any]]:
    """The rules, less one verb on one kind."""
    kept = []
    for rule in rules:
        is_about = right is not None and (rule["apiGroups"], rule["resources"]) == (
            [right.group],
            [right.resource],
        )
        verbs = [v for v in rule["verbs"] if not (is_about and right and v == right.verb)]
        if verbs:
            kept.append({**rule, "verbs": verbs})
    return kept


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("is_namespaced", [True, False], ids=["namespaced", "cluster-wide"])
def test_every_right_is_used_nothing_else_is_and_none_can_be_missed(
    crd: Cluster, node: Stage, namespace: str, is_namespaced: bool
) -> None:
    served = (namespace,) if is_namespaced else ()
    lease = f"--lease={namespace}/{rights.LEASE}"
    with (
        FaultProxy(crd) as proxy,
        Operator(crd, lease, system=namespace, namespaces=served, server=proxy.address) as operator,
    ):
        world = World(crd, operator, node, namespace)
        live_through_everything(world, proxy)
        operator.terminate()
    asked = used(world)
    assert set(asked) == {*JOB_RIGHTS, *LEASE_RIGHTS}
    for right, names in LEASE_RIGHTS.items():
        assert not names or asked[right].endswith(f"/leases/{names[0]}")
    world.delete()

    accounts = Accounts(crd, namespace, is_namespaced)
    wait_for(
        lambda: all(accounts.sends("full", r, p) != 403 for r, p in asked.items()),
        what="the roles", seconds=10,
    )  # fmt: skip
    refused = {
        (lacking, right)
        for name, lacking in accounts.lacking.items()
        for right, path in asked.items()
        if accounts.sends(name, right, path) == 403
    }
    assert refused == {(right, right) for right in asked}, json.dumps(sorted(map(str, refused)))
    other = asked[Right("coordination.k8s.io", "leases", "get")].replace(rights.LEASE, "theirs")
    assert accounts.sends("full", Right("coordination.k8s.io", "leases", "get"), other) == 403
