"""The cache: newest wins, deleted stays deleted, a label is not ownership."""

from typing import Any

from finetune_api.names import LABEL_JOB
from finetune_operator.cache import Cache
from finetune_operator.kube import FINETUNEJOBS, JOBS, PODS
from finetune_operator.workqueue import Key

KEY = Key("team", "tickets")
PLACE = Key("team", "tickets-train")


def child(version: int, *, uid: str = "a", label: str | None = "tickets") -> dict[str, Any]:
    labels = {LABEL_JOB: label} if label else {}
    metadata = {
        "namespace": "team",
        "name": "tickets-train",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": labels,
        "managedFields": ["long"],
    }
    return {"metadata": metadata, "spec": {"parallelism": 2, "template": {"long": True}}}


def version(cache: Cache) -> str | None:
    found = cache.get(JOBS, PLACE)
    return found["metadata"]["resourceVersion"] if found else None


def test_an_older_version_that_arrives_later_is_not_taken() -> None:
    cache = Cache()
    cache.put(JOBS, child(10))
    cache.put(JOBS, child(9))
    assert version(cache) == "10"


def test_a_late_answer_does_not_bring_a_deleted_object_back() -> None:
    cache = Cache()
    cache.remove(JOBS, child(10))
    cache.put(JOBS, child(9))
    assert version(cache) is None


def test_the_deletion_of_an_older_object_of_the_same_name_removes_nothing() -> None:
    cache = Cache()
    cache.put(JOBS, child(12, uid="new"))
    cache.remove(JOBS, child(11, uid="old"))
    assert version(cache) == "12"


def test_children_are_found_by_label_and_lost_with_deletion() -> None:
    cache = Cache()
    assert cache.put(JOBS, child(1)) == KEY
    assert [c["metadata"]["name"] for c in cache.children(JOBS, KEY)] == ["tickets-train"]
    assert cache.remove(JOBS, child(2)) == KEY
    assert list(cache.children(JOBS, KEY)) == []


def test_a_child_whose_label_was_removed_is_found_by_the_owner_it_was_read_for() -> None:
    cache = Cache()
    cache.put(JOBS, child(3, label=None), owner=KEY)
    assert len(list(cache.children(JOBS, KEY))) == 1


CONTAINER = {"name": "trainer", "image": "i", "resources": {"requests": {"cpu": "4"}}}


def test_only_what_is_read_is_kept() -> None:
    cache = Cache()
    cache.put(JOBS, child(1))
    pod = {
        "metadata": {"namespace": "team", "name": "p", "uid": "p", "resourceVersion": "1"},
        "spec": {"nodeName": "n", "volumes": [1], "containers": [CONTAINER | {"env": [1]}]},
    }
    cache.put(PODS, pod)
    kept, kept_pod = cache.get(JOBS, PLACE), cache.get(PODS, Key("team", "p"))
    assert kept is not None
    assert kept["spec"] == {"parallelism": 2}
    assert "managedFields" not in kept["metadata"]
    assert kept_pod is not None
    assert kept_pod["spec"] == {
        "nodeName": "n",
        "containers": [CONTAINER],
    }


def test_a_job_is_its_own_owner() -> None:
    job = {"metadata": {"namespace": "team", "name": "tickets", "uid": "j"}}
    assert Cache().put(FINETUNEJOBS, job) == KEY


def test_a_child_that_lost_its_label_goes_as_a_whole() -> None:
    cache = Cache()
    cache.put(JOBS, child(10, label=None), owner=KEY)
    assert cache.put(JOBS, child(11, label=None)) == KEY
    assert cache.remove(JOBS, child(12, label=None)) == KEY
    assert list(cache.children(JOBS, KEY)) == []
