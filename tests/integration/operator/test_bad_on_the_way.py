"""What goes wrong or is taken away while a run is on its way, and the limits it comes close to."""

import json
import time
from collections.abc import Iterator

import pytest
from kubernetes import client
from scripted_node import LEAVES_WELL, Stage
from world import Operator, World

from finetune_api.names import ENV_GANG_HOSTS, ENV_JOB
from localcluster.cluster import Cluster
from localcluster.node.network import pod_address
from localcluster.node.scripted import Fate
from tests.bad_input import book as pages
from tests.bad_input.book import Book

SECTION = "On the way"
SEA = ("island", "harbour")
"""Two nodes with one GPU each, so that a gang of two has a pod on either."""
DNS_LABEL, DNS_NAME = 63, 253
LOST_WITHIN = 75.0
"""Kubernetes calls a node not ready after 50 s of silence, which it looks at every 5 s."""


@pytest.fixture(scope="module", autouse=True)
def sea(crd: Cluster, operator: Operator, node: Stage) -> Iterator[tuple[World, float]]:
    """A gang on two nodes, one of which has just fallen silent. The other tests fill the time that
    Kubernetes takes to see it."""
    for name in SEA:
        node.join(name, gpus=1, pool="sea")
        crd.kubectl("taint", "node", name, "pool=sea:NoSchedule")
    crd.kubectl("create", "namespace", "t00000099-1")
    world = World(crd, operator, node, "t00000099-1")
    tolerations = [{"key": "pool", "operator": "Exists"}]
    world.create(scheduling={"nodeSelector": {"pool": "sea"}, "tolerations": tolerations})
    world.wait_reason("PodsReady", "AllReady")
    node.silence("island")
    yield world, time.monotonic()
    world.delete()
    world.wait(lambda: not world.children(), "nothing left")
    for name in SEA:
        node.leave(name)


def pods_of(world: World) -> set[str]:
    runs = world.node.running(world.namespace, "tickets")
    return {run.launch.pod["metadata"]["uid"] for run in runs}


def test_the_longest_names_reach_running_pods_whose_host_names_resolve(
    crd: Cluster, operator: Operator, node: Stage
) -> None:
    namespace, name = "n" * 63, "j" * 40
    crd.kubectl("create", "namespace", namespace)
    world = World(crd, operator, node, namespace)
    world.create(name)
    world.wait_reason("PodsReady", "AllReady", name)
    runs = node.running(namespace, name)
    pods = [run.launch.pod for run in runs]
    written = {e["name"]: e.get("value") for e in pods[0]["spec"]["containers"][0]["env"]}
    hosts = written[ENV_GANG_HOSTS].split(",")
    assert max(len(label) for host in hosts for label in host.split(".")) <= DNS_LABEL
    assert max(len(host) for host in hosts) <= DNS_NAME
    for run in runs:
        resolved = run.launch.env[ENV_GANG_HOSTS].split(",")
        assert resolved == [pod_address(pod) for pod in pods]
    labels = [value for pod in pods for value in pod["metadata"]["labels"].values()]
    assert max(map(len, labels)) <= DNS_LABEL
    world.delete(name)
    world.wait(lambda: not world.children(), "nothing left")


def test_a_specification_close_to_the_limit_runs_and_one_above_it_is_told(
    world: World, book: Book
) -> None:
    close, above = ([f"{letter * 250}{n:03d}" for n in range(60)] for letter in "ä🙂")
    world.create("close", method={"lora": {"targetModules": close}})
    world.create("above", method={"lora": {"targetModules": above}})
    invalid = world.wait_reason("Validated", "Invalid", "above")
    book.tell(
        "a specification of more than 96 KiB", *pages.seen(world.status("above"), "Validated")
    )
    described = world.cluster.kubectl("describe", "ftj", "above", "-n", world.namespace)
    assert invalid["message"] in described
    world.wait_reason("PodsReady", "AllReady", "close")
    (run, _) = world.node.running(world.namespace, "close")
    assert len(run.launch.env[ENV_JOB]) > 90_000
    assert sorted(world.jobs()) == ["close-prepare", "close-train"]


def test_a_secret_that_is_deleted_disturbs_no_running_pod_and_holds_no_new_one_back(
    world: World,
) -> None:
    secret = client.V1Secret(metadata={"name": "s3"}, string_data={"AWS_ACCESS_KEY_ID": "a"})
    world.core.create_namespaced_secret(world.namespace, secret)
    world.create(storage={"secretName": "s3"})
    world.wait_reason("PodsReady", "AllReady")
    before = pods_of(world)
    world.core.delete_namespaced_secret("s3", world.namespace)
    time.sleep(3)
    assert world.condition("PodsReady")["reason"] == "AllReady"
    after = pods_of(world)
    assert after == before
    world.node.show(world.namespace, "tickets", "train", Fate(50, after=0), index=1)
    world.wait_reason("PodsReady", "PodLost")
    world.node.show(world.namespace, "tickets", "train", LEAVES_WELL, index=1)
    world.wait_reason("PodsReady", "AllReady", seconds=40)


def test_a_deletion_in_any_state_leaves_nothing(world: World) -> None:
    world.node.show(world.namespace, "preparing", "prepare", Fate())
    world.create("preparing")
    world.create("waiting", storage={"secretName": "never"})
    world.create("running")
    world.create("suspended", suspend=True)
    world.wait_reason("DataReady", "MissingSecret", "waiting", seconds=30)
    world.wait_reason("PodsReady", "AllReady", "running")
    world.wait_word("Suspended", "suspended")
    assert world.status("preparing")["display"]["status"] == "Preparing"
    for name in ("preparing", "waiting", "running", "suspended"):
        world.delete(name)
    world.wait(lambda: not world.children(), "nothing left", seconds=40)
    time.sleep(2)
    assert world.children() == []


def test_a_namespace_goes_with_a_run_in_it(world: World) -> None:
    world.create()
    world.create("waiting", storage={"secretName": "never"})
    world.wait_reason("PodsReady", "AllReady")
    before = len(world.operator.log())
    world.cluster.kubectl("delete", "namespace", world.namespace, "--wait=false")
    words = ("get", "namespace", world.namespace, "--ignore-not-found", "-o", "name")
    world.wait(lambda: not world.cluster.kubectl(*words), "the namespace is gone", seconds=60)
    said = [json.loads(line) for line in world.operator.log()[before:].splitlines() if line]
    mine = [line for line in said if world.namespace in str(line.get("job", ""))]
    assert [line for line in mine if line["level"] == "error"] == []
    assert len(mine) < 40, "it is not hammered at"


def test_a_node_that_falls_silent_is_told_and_the_run_goes_on_when_it_is_back(
    sea: tuple[World, float], book: Book
) -> None:
    world, since = sea
    left = LOST_WITHIN - (time.monotonic() - since)

    def is_told() -> bool:
        return "node island" in world.condition("PodsReady").get("message", "")

    world.wait(is_told, "the silent node is told", seconds=left)
    status = world.status()
    pods = pods_of(world)
    book.tell("a node stops answering", *pages.seen(status, "PodsReady"))
    assert pages.seen(status, "PodsReady")[1] in world.cluster.kubectl(
        "describe", "ftj", "tickets", "-n", world.namespace
    )
    world.node.speak("island")
    world.wait_reason("PodsReady", "AllReady", seconds=40)
    now = pods_of(world)
    assert now == pods, "blindness is not death: nobody was restarted"
    assert world.events().count("PodLost") == 1
