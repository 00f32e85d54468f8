"""Two operators and one Lease: who works when one leaves, dies, or is pushed aside."""

import json
import time
from collections.abc import Iterator

import pytest
from scripted_node import Stage
from world import Operator, World

from finetune_operator.rights import LEASE
from localcluster.cluster import Cluster, wait_for
from localcluster.node.scripted import Fate

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def pair(crd: Cluster, node: Stage, namespace: str) -> Iterator[tuple[Operator, Operator]]:
    """One that leads and one that stands by, for one namespace."""
    lease = f"--lease={namespace}/{LEASE}"
    first, second = (
        Operator(crd, lease, system=namespace, namespaces=(namespace,)) for _ in range(2)
    )
    first.start()
    wait_for(lambda: leads(first), what="the first one leads", seconds=10)
    second.start()
    yield first, second
    first.kill()
    second.kill()


@pytest.fixture
def world(crd: Cluster, pair: tuple[Operator, Operator], node: Stage, namespace: str) -> World:
    return World(crd, pair[1], node, namespace)


def leads(operator: Operator) -> bool:
    return operator.metric("finetune_operator_leader") == 1 and operator.answers("/readyz") == "ok"


def takeover(operator: Operator) -> float:
    """How long until this one leads and has listed everything."""
    started = time.monotonic()
    wait_for(lambda: leads(operator), what="the takeover", seconds=30, interval=0.05)
    return time.monotonic() - started


def test_a_standby_is_ready_waits_and_follows_at_once_when_the_leader_leaves(
    pair: tuple[Operator, Operator], world: World
) -> None:
    first, second = pair
    assert second.answers("/readyz") == "standby"
    assert second.answers("/healthz") == "ok"
    assert second.metric("finetune_operator_leader") == 0
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    assert second.metric("finetune_operator_reconciles_total") == 0
    leaving = first.terminate()
    seconds = takeover(second)
    print(f"\nclean leave: {leaving:.2f} s until it had gone, followed {seconds:.2f} s after")
    assert seconds <= 3


def test_a_killed_leader_is_followed_and_the_run_goes_on_without_a_second_child(
    pair: tuple[Operator, Operator], world: World
) -> None:
    first, second = pair
    world.node.show(world.namespace, "late", "prepare", Fate())
    world.create()
    world.create("late")
    world.wait_reason("PodsReady", "AllReady")
    world.wait(lambda: "late-prepare" in world.jobs(), "the second job's prepare")
    jobs = world.jobs()
    first.kill()
    world.finish()
    seconds = takeover(second)
    print(f"\nkilled: followed after {seconds:.2f} s")
    assert 10 <= seconds <= 19
    world.wait_word("Succeeded")
    assert world.jobs() == jobs
    assert world.writes()["create", "jobs"] == 3
    assert world.writes()["create", "services"] == 1
    assert len(world.events()) == len(set(world.events())) + 1, "two jobs were prepared, once each"


def test_a_leader_whose_lease_is_taken_ends_with_a_sentence(
    pair: tuple[Operator, Operator], world: World
) -> None:
    first, second = pair
    thief = {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 3}}
    words = ("patch", "lease", LEASE, "-n", world.namespace, "--type=merge", "-p")
    world.cluster.kubectl(*words, json.dumps(thief))
    started = time.monotonic()
    assert first.ended() == 3
    assert time.monotonic() - started <= 5
    (said,) = [x for x in first.log().splitlines() if "another operator may lead now" in x]
    assert json.loads(said)["why"] == f"the lease {world.namespace}/{LEASE} is held by thief"
    assert takeover(second) <= 8, "the thief's record is void after the 3 s that it says"
