"""A job from creation to its end, on the real API server."""

import json
import time

import pytest
from kubernetes import client
from scripted_node import LEAVES_WELL
from world import World

from localcluster.node.scripted import Fate

REPORT = {
    "apiVersion": "1.0",
    "stage": "train",
    "attempt": 1,
    "pods": 2,
    "podsJoined": 2,
    "step": 62,
    "totalSteps": 100,
    "metrics": [{"name": "loss", "value": "1.0432"}, {"name": "step_seconds", "value": "2"}],
    "attempts": [{"number": 1, "start": "2026-01-01T00:00:00Z"}],
    "checkpoint": {"step": 60, "uri": "s3://m/c/", "bytes": 9, "savedAt": "2026-01-01T00:00:00Z"},
}
DONE = {
    **REPORT,
    "stage": "done",
    "step": 100,
    "evaluation": [
        {"metric": "accuracy", "base": "0.413", "tuned": "0.639", "interval": "", "rows": 50}
    ],
    "artifacts": {"adapter": "s3://models/tickets/adapter/"},
}


def refusals(metrics: str) -> list[str]:
    """Requests that the operator was not allowed to make, so far."""
    return [line for line in metrics.splitlines() if 'code="403"' in line]


def test_a_job_runs_from_prepare_to_its_end_with_few_writes(world: World) -> None:
    refused_before = refusals(world.operator.answers("/metrics"))
    created = world.create()
    world.wait_reason("PodsReady", "AllReady")
    until_running = world.writes()
    assert until_running["create", "jobs"] == 2
    assert until_running["create", "services"] == 1
    assert until_running["patch", "finetunejobs/status"] <= 4
    assert until_running.total() == (
        3 + until_running["patch", "finetunejobs/status"] + until_running["create", "events"]
    )
    assert until_running["create", "events"] == 3

    world.node.progress(world.namespace, "tickets", REPORT)
    display = world.wait_word("Training")["display"]
    assert display["progress"] == "62% (62/100)"
    assert (display["loss"], display["eta"], display["checkpoint"]) == ("1.043", "76s", "step 60")

    world.finish(message=json.dumps(DONE))
    status = world.wait_word("Succeeded")
    assert status["display"]["eval"] == "41.3% -> 63.9%"
    assert status["artifacts"]["adapter"] == "s3://models/tickets/adapter/"
    assert status["prepared"]["graceSeconds"] == 20
    assert status["observedGeneration"] == created["metadata"]["generation"]
    world.wait(lambda: "Succeeded" in world.events(), "the last event")
    assert world.events() == [
        "PrepareStarted",
        "DataReady",
        "GangStarted",
        "CheckpointSaved",
        "TrainingStarted",
        "EvaluationFinished",
        "Succeeded",
    ]
    assert world.get()["metadata"].get("finalizers") is None
    series = f'finetune_job_condition{{job="tickets",namespace="{world.namespace}"'
    metrics = world.operator.answers("/metrics")
    assert series in metrics
    assert refusals(metrics) == refused_before, "its rights are enough"
    world.delete()
    world.wait(lambda: not world.children(), "garbage collection", seconds=60)
    assert series not in world.operator.answers("/metrics")


def test_a_running_job_is_not_written_to_while_nothing_happens(world: World) -> None:
    world.node.progress(world.namespace, "tickets", REPORT)
    world.create()
    world.wait_word("Training")
    time.sleep(3)
    before = world.writes()
    time.sleep(20)
    assert world.writes() == before


def test_a_data_error_is_told_in_describe(world: World) -> None:
    text = {"class": "DataError", "message": "row 7 of train.jsonl has no label"}
    message = json.dumps({**text, "remedy": "add the column label"})
    world.node.show(world.namespace, "tickets", "prepare", Fate(41, after=0.3, message=message))
    world.create()
    world.wait_word("Failed")
    described = world.cluster.kubectl("describe", "ftj", "tickets", "-n", world.namespace)
    assert described.count("row 7 of train.jsonl has no label; add the column label") >= 2
    assert "Warning  Failed" in described
    assert world.condition("DataReady")["reason"] == "DataError"
    assert list(world.jobs()) == ["tickets-prepare"]


def test_a_failed_run_keeps_its_reason_after_its_pods_are_gone(world: World) -> None:
    message = json.dumps({"class": "OutOfMemory", "message": "needed 88.7 GiB", "rank": 0})
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    world.finish(42, message)
    world.wait_word("Failed")
    world.batch.delete_namespaced_job(
        "tickets-train", world.namespace, propagation_policy="Background"
    )
    world.wait(lambda: "tickets-train" not in world.jobs(), "the train Job is gone")
    time.sleep(1)
    assert world.condition("Succeeded")["reason"] == "OutOfMemory"
    assert "tickets-train" not in world.jobs()


def test_a_lost_pod_is_told_and_the_gang_goes_on_in_the_same_job(world: World) -> None:
    world.create()
    world.wait_reason("PodsReady", "AllReady")
    uid = world.jobs()["tickets-train"]
    world.node.show(world.namespace, "tickets", "train", Fate(50, after=0), index=1)
    lost = world.wait_reason("PodsReady", "PodLost")
    assert lost["message"].startswith("1 of 2 pods ready; train-1 was lost on scripted")
    world.node.show(world.namespace, "tickets", "train", LEAVES_WELL, index=1)
    world.wait_reason("PodsReady", "AllReady", seconds=40)
    assert world.jobs()["tickets-train"] == uid
    assert world.events().count("PodLost") == 1


def test_what_holds_pods_back_is_said(world: World) -> None:
    world.node.show(world.namespace, "image", "prepare", Fate(image_pending=True))
    world.create("image")
    world.create("node", scheduling={"nodeSelector": {"gpu": "h900"}})
    image = world.wait_reason("DataReady", "ImagePullFailed", "image", seconds=30)
    assert image["message"].startswith("image finetune-trainer:cpu of pod image-prepare-")
    node = world.wait_reason("PodsReady", "Unschedulable", "node", seconds=30)
    assert "nodes are available" in node["message"]
    quota = client.V1ResourceQuota(
        metadata={"name": "none"}, spec={"hard": {"requests.nvidia.com/gpu": "0"}}
    )
    world.core.create_namespaced_resource_quota(world.namespace, quota)
    world.create("quota")
    refused = world.wait_reason("PodsReady", "QuotaExceeded", "quota", seconds=30)
    assert "quota none of the namespace leaves no room" in refused["message"]
    assert "limited: requests.nvidia.com/gpu=0" in refused["message"]


def test_a_missing_secret_is_named(world: World) -> None:
    world.create(storage={"secretName": "s3-credentials"})
    found = world.wait_reason("DataReady", "MissingSecret", seconds=30)
    assert "Secret s3-credentials does not exist in this namespace" in found["message"]


def test_pods_are_admitted_where_the_restricted_standard_is_enforced(world: World) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    world.cluster.kubectl("label", "namespace", world.namespace, label)
    world.create()
    world.wait_reason("PodsReady", "AllReady")


def test_no_secret_reaches_status_events_or_log(world: World) -> None:
    value = "AKIA-very-secret-value"
    secret = client.V1Secret(
        metadata={"name": "s3-credentials"}, string_data={"AWS_SECRET_ACCESS_KEY": value}
    )
    world.core.create_namespaced_secret(world.namespace, secret)
    world.create(storage={"secretName": "s3-credentials"})
    world.wait_reason("PodsReady", "AllReady")
    jobs = world.batch.list_namespaced_job(world.namespace, _preload_content=False).data.decode()
    token = json.loads(jobs)["items"][1]["spec"]["template"]["spec"]["containers"][0]["env"]
    (gang,) = [e["value"] for e in token if e["name"] == "FINETUNE_GANG_TOKEN"]
    told = world.cluster.kubectl("get", "ftj,events", "-n", world.namespace, "-o", "json")
    for place in (told, world.operator.log(), world.operator.answers("/metrics")):
        assert value not in place
        assert gang not in place
    assert value not in jobs


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"method": {}},
            "set exactly one of full, freeze",
        ),
        ({"output": {"uri": "s3://models/bert-tiny/x/"}}, "must not lie inside"),
    ],
    ids=["no method", "output inside the model"],
)
def test_the_api_server_refuses_what_the_rules_refuse(
    world: World, change: dict[str, object], says: str
) -> None:
    with pytest.raises(client.ApiException) as refused:
        world.create(**change)
    assert refused.value.status == 422
    assert says in refused.value.body
