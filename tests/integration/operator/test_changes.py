"""Suspend, edit, delete, crash, strangers: what happens to a job on its way."""

import time

import pytest
from kubernetes import client
from world import World


def test_suspend_releases_the_pods_and_resume_makes_the_job_anew(world: World) -> None:
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    first = world.jobs()
    world.change(suspend=True)
    world.wait_word("Suspended")
    pods = world.core.list_namespaced_pod(world.namespace, label_selector="finetune.dev/role=train")
    assert pods.items == []
    assert list(world.jobs()) == ["tickets-prepare"]

    world.change(suspend=False)
    world.wait_reason("PodsReady", "AllReady")
    second = world.jobs()
    assert second["tickets-train"] != first["tickets-train"]
    assert second["tickets-prepare"] == first["tickets-prepare"]
    assert "Suspended" in world.events()


def test_a_job_that_is_created_suspended_prepares_and_takes_no_gpu(world: World) -> None:
    world.create(suspend=True)
    world.wait_reason("DataReady", "Prepared")
    time.sleep(1)
    assert list(world.jobs()) == ["tickets-prepare"]
    assert world.status()["display"]["status"] == "Suspended"
    world.change(suspend=False)
    world.wait_reason("PodsReady", "AllReady")


def test_resources_edited_while_suspended_are_prepared_for(world: World) -> None:
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    before, jobs = world.status()["prepared"], world.jobs()
    world.change(suspend=True)
    world.wait_word("Suspended")
    world.change(resources={"nodes": 3})
    world.wait(
        lambda: world.status()["prepared"]["inputsHash"] != before["inputsHash"],
        "prepared for three nodes",
    )
    assert world.jobs()["tickets-prepare"] != jobs["tickets-prepare"]
    assert "tickets-train" not in world.jobs()
    world.change(suspend=False)
    ready = world.wait_reason("PodsReady", "AllReady")
    assert ready["message"] == "3 of 3 pods ready"


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_deletion_leaves_nothing(world: World, propagation: str) -> None:
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    world.delete(propagation=propagation)
    world.wait(lambda: not world.children(), "garbage collection")
    time.sleep(1)
    assert world.children() == []


def test_a_job_made_again_under_its_name_gets_children_of_its_own(world: World) -> None:
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    first = world.jobs()
    world.delete()
    world.create()
    world.wait_reason("PodsReady", "AllReady", seconds=30)
    second = world.jobs()
    assert set(second) == set(first)
    assert all(second[name] != first[name] for name in first)
    assert "ChildConflict" not in world.events()


def test_a_foreign_job_under_our_name_is_left_alone_and_told(world: World) -> None:
    container = {"name": "c", "image": "i"}
    foreign = client.V1Job(
        metadata={"name": "tickets-train"},
        spec={
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    )
    made = world.batch.create_namespaced_job(world.namespace, foreign)
    world.create()
    conflict = world.wait_reason("PodsReady", "ChildConflict")
    assert f"Job {world.namespace}/tickets-train exists" in conflict["message"]
    time.sleep(2)
    found = world.batch.read_namespaced_job("tickets-train", world.namespace)
    assert found.metadata.uid == made.metadata.uid
    assert found.metadata.labels == made.metadata.labels
    assert found.metadata.owner_references is None
    assert world.events().count("ChildConflict") == 1
    assert world.writes()["delete", "jobs"] == 0

    world.batch.delete_namespaced_job(
        "tickets-train", world.namespace, propagation_policy="Background"
    )
    world.wait_reason("PodsReady", "AllReady", seconds=60)


def test_a_killed_operator_goes_on_where_it_was(world: World) -> None:
    names = [f"job{number}" for number in range(6)]
    for name in names:
        world.create(name)
    for pause in (0.3, 0.6, 1.0):
        time.sleep(pause)
        world.operator.kill()
        world.operator.start()
    for name in names:
        world.wait_reason("PodsReady", "AllReady", name, seconds=30)
    jobs = world.jobs()
    assert sorted(jobs) == sorted(
        f"{name}-{role}" for name in names for role in ("prepare", "train")
    )
    assert world.writes()["delete", "jobs"] == 0, "so each was made exactly once"

    uids = world.jobs()
    world.operator.kill()
    world.operator.start()
    time.sleep(2)
    assert world.jobs() == uids, "a restart touches no running gang"


def test_the_operator_leaves_quickly_when_asked(world: World) -> None:
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    seconds = world.operator.terminate()
    world.operator.start()
    assert seconds <= 2
    assert world.operator.memory_mib() < 100
