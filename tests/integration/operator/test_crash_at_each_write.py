"""The operator is killed at each single write of a job's way to a running gang; the next one goes
on. Whatever it had written, it is written once, and the end is that of an undisturbed run.

Each job is held at another write, with or without the answer, so that one kill proves them all.
"""

from typing import Any

import pytest
from fault_proxy import FaultProxy, Stop
from scripted_node import Stage
from world import ACCOUNT, Operator, World

from localcluster.cluster import Cluster

ONE_POD = {"nodes": 1, "gpusPerNode": 1}
TOLD = ["PrepareStarted", "DataReady", "GangStarted"]


def outcome(world: World, name: str) -> dict[str, Any]:
    """What a status says, without times and names."""
    status = world.status(name)
    conditions = [
        {k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status["conditions"]
    ]
    prepared = {
        k: v for k, v in status["prepared"].items() if k not in ("inputsHash", "fingerprint")
    }
    return {**status, "conditions": conditions, "prepared": prepared}


def events_about(world: World, name: str) -> list[str]:
    items = world.core.list_namespaced_event(world.namespace).items
    return [
        e.reason for e in items if e.involved_object.name == name and e.source.component == ACCOUNT
    ]


@pytest.mark.usefixtures("quiet")
def test_killed_at_any_write_it_makes_everything_exactly_once(
    crd: Cluster, node: Stage, namespace: str
) -> None:
    flags = ("--workers=32", "--patience=60")
    with (
        FaultProxy(crd) as proxy,
        Operator(
            crd, *flags, system=namespace, namespaces=(namespace,), server=proxy.address
        ) as operator,
    ):
        world = World(crd, operator, node, namespace)
        proxy.stops["calm"] = calm = Stop(at=1000)
        world.create("calm", resources=ONE_POD)
        world.wait_reason("PodsReady", "AllReady", "calm")
        world.wait(lambda: sorted(events_about(world, "calm")) == sorted(TOLD), "all events")
        expected, last = outcome(world, "calm"), len(calm.writes)
        assert last == 3 + len(TOLD) + sum("/status" in write for write in calm.writes)

        stops = {
            f"w{at:02}-{word}": Stop(at, word == "heard")
            for at in range(1, last + 1)
            for word in ("heard", "unheard")
        }
        proxy.stops |= stops
        for name in stops:
            world.create(name, resources=ONE_POD)
        for name, stop in stops.items():
            if (stop.at, stop.is_answered) == (last, True):
                world.wait(lambda stop=stop: len(stop.writes) == last, "the last write")
            else:
                assert stop.is_waiting.wait(20), (name, stop.writes)
        operator.kill()
        proxy.stops.clear()
        uids = world.jobs()

        operator.start()
        for name in stops:
            world.wait_reason("PodsReady", "AllReady", name, seconds=60)
        world.wait(lambda: operator.metric("finetune_operator_queue_depth") == 0, "quiet")
        for name in stops:
            assert outcome(world, name) == expected, name
            told = events_about(world, name)
            assert all(told.count(reason) <= 1 for reason in TOLD), (name, told)
        jobs = world.jobs()
    assert uids.items() <= jobs.items()
    made = [
        (entry["resource"], entry["name"])
        for entry in crd.audited(user=operator.user, namespace=namespace, verb="create")
        if entry["responseStatus"]["code"] == 201 and entry["resource"] != "events"
    ]
    parts = (("jobs", "prepare"), ("jobs", "train"), ("services", "train"))
    assert sorted(made) == sorted(
        (resource, f"{name}-{part}") for name in ("calm", *stops) for resource, part in parts
    )
    assert set(jobs) == {name for resource, name in made if resource == "jobs"}
