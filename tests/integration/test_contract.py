"""The generated CRD on the real API server: what is accepted, and what each rule says."""

import copy
import json
from typing import Any

import pytest

from localcluster.cluster import Cluster

JOB: dict[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "hello"},
    "spec": {
        "task": "TextClassification",
        "model": {"uri": "s3://models/base/"},
        "dataset": {"train": {"uri": "s3://data/rows.jsonl"}},
        "method": {"lora": {"rank": 8}},
        "output": {"uri": "s3://models/hello/"},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    job = copy.deepcopy(JOB)
    node = job
    *parents, last = path.split(".")
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
    return job


def apply(cluster: Cluster, namespace: str, job: dict[str, Any]) -> str:
    return cluster.kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(job), check=False)


REFUSED = [
    ("metadata.name", "a" * 41, "metadata.name must have at most 40 characters"),
    ("metadata.name", "1st", "metadata.name must start with a letter"),
    (
        "spec.method",
        {"lora": {}, "full": {}},
        "set exactly one of full, freeze",
    ),
    (
        "spec.method",
        {},
        "set exactly one of full, freeze",
    ),
    ("spec.dataset.test", {"uri": "s3://d/t.csv", "fraction": 0.1}, "set exactly one of uri"),
    ("spec.dataset.validation", {}, "set exactly one of uri, fraction"),
    ("spec.output.uri", "s3://models/base/tuned/", "output.uri must not lie inside model.uri"),
    ("spec.training", {"epochs": 1, "maxSteps": 5}, "set at most one of epochs, maxSteps"),
    ("spec.distribution", {"strategy": "DDP", "deepspeed": {}}, "no effect with strategy DDP"),
    ("spec.dataset.test", {"fraction": 1.0}, "should be less than 1"),
    ("spec.method.lora.rank", 0, "greater than or equal to 1"),
    ("spec.task", "TextKlassification", "supported values"),
    ("spec.model.uri", "s3://models/base", "must be a folder"),
    ("spec.training.learningRate", 0, "should be greater than 0"),
    ("spec.resources", {"cpu": "many"}, "should match"),
    ("spec.tusk", "x", 'unknown field "spec.tusk"'),
]


@pytest.mark.parametrize(("path", "value", "reason"), REFUSED, ids=[r[2] for r in REFUSED])
def test_the_api_server_refuses_and_says_why(
    crd: Cluster, namespace: str, path: str, value: Any, reason: str
) -> None:
    said = apply(crd, namespace, changed(path, value))
    assert reason.lower() in said.lower()
    assert crd.kubectl("get", "ftj", "-n", namespace, "-o", "name") == ""


def test_fractions_that_leave_no_training_rows_are_refused(crd: Cluster, namespace: str) -> None:
    job = changed("spec.dataset.test", {"fraction": 0.5})
    job["spec"]["dataset"]["validation"] = {"fraction": 0.5}
    assert "nothing would be left to train on" in apply(crd, namespace, job)


def test_a_job_of_six_fields_is_accepted_and_quantities_may_be_numbers(
    crd: Cluster, namespace: str
) -> None:
    job = changed("spec.resources", {"cpu": 2, "memory": "4Gi"})
    assert "created" in apply(crd, namespace, job)
    assert "hello" in crd.kubectl("get", "finetune", "-n", namespace)


DEFINING = [
    ("spec.method.lora.rank", 9, "method defines the run"),
    ("spec.training.seed", 7, "training defines the run"),
    ("spec.output.uri", "s3://models/other/", "output defines the run"),
    ("spec.dataset.test", {"fraction": 0.2}, "dataset defines the run"),
    ("spec.model.uri", "s3://models/other/", "model defines the run"),
    ("spec.storage.endpoint", "http://elsewhere", "storage defines the run"),
    ("spec.checkpointing.everySteps", 5, "checkpointing defines the run"),
    ("spec.distribution.strategy", "DDP", "distribution defines the run"),
    ("spec.resources.nodes", 2, "resources can change only while the job is suspended"),
    ("spec.retries.maxAttempts", 2, "retries can change only while the job is suspended"),
    ("spec.scheduling.priorityClassName", "x", "scheduling can change only while"),
]


def test_what_defines_a_run_cannot_change_and_the_rest_only_while_suspended(
    crd: Cluster, namespace: str
) -> None:
    assert "created" in apply(crd, namespace, JOB)
    for path, value, reason in DEFINING:
        assert reason in apply(crd, namespace, changed(path, value)), path
    assert "configured" in apply(crd, namespace, changed("spec.suspend", True))
    assert "configured" in apply(crd, namespace, changed("spec.resources.nodes", 2))
    stored = json.loads(crd.kubectl("get", "ftj", "hello", "-n", namespace, "-o", "json"))
    assert (stored["spec"]["resources"]["nodes"], stored["spec"]["suspend"]) == (2, False)
