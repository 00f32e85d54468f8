"""The objects a job becomes, to the byte. `UPDATE_GOLDENS=1 pytest tests/golden` writes anew."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from finetune_api import names
from finetune_api.job import FineTuneJob
from finetune_api.progress import Prepared
from finetune_operator.render.metadata import Owner
from finetune_operator.render.prepare_job import prepare_job
from finetune_operator.render.service import service
from finetune_operator.render.train_job import train_job
from finetune_operator.settings import Settings

FOLDER = Path(__file__).parent
SETTINGS = Settings(
    trainer_image_cpu="site/trainer:1-cpu", trainer_image_cuda="site/trainer:1-cuda"
)
OWNER = Owner("team", "tickets", "uid-job", 3)
PREPARED = Prepared(
    inputs_hash="0" * 32,
    fingerprint="f" * 16,
    cpu="4",
    memory="16Gi",
    shared_memory="2Gi",
    disk="20Gi",
    grace_seconds=90,
    model_bytes=1000,
    checkpoint_bytes=100,
)


def job(**spec: Any) -> FineTuneJob:
    return FineTuneJob.from_manifest(
        {
            "metadata": {"name": "tickets", "namespace": "team"},
            "spec": {
                "task": "TextClassification",
                "model": {"uri": "s3://models/bert-tiny/"},
                "dataset": {"train": {"uri": "s3://corpus/$(HOME)/train.jsonl"}},
                "method": {"lora": {"rank": 8}},
                "output": {"uri": "s3://models/tickets/"},
                **spec,
            },
        }
    )


PLAIN = job(resources={"gpusPerNode": 0})
EVERYTHING = job(
    storage={
        "secretName": "s3-credentials",
        "endpoint": "https://s3.site",
        "caSecretName": "site-ca",
    },
    resources={"nodes": 2, "gpusPerNode": 8, "cpu": "32", "memory": "512Gi"},
    scheduling={
        "priorityClassName": "research",
        "nodeSelector": {"gpu": "h200"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccountName": "trainer",
    },
)
RENDERED = {
    "prepare-plain": prepare_job(PLAIN, OWNER, SETTINGS),
    "prepare-everything": prepare_job(EVERYTHING, OWNER, SETTINGS),
    "train-plain": train_job(PLAIN, OWNER, PREPARED, "token", SETTINGS),
    "train-everything": train_job(
        EVERYTHING, OWNER, PREPARED, "token", SETTINGS, avoid={"node-b", "node-a"}
    ),
    "service": service(OWNER),
}
JOBS = [name for name in RENDERED if name != "service"]


def container(name: str) -> dict[str, Any]:
    (only,) = RENDERED[name]["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("name", RENDERED)
def test_object_is_the_golden_one(name: str) -> None:
    path = FOLDER / f"{name}.json"
    text = json.dumps(RENDERED[name], indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RENDERED)
def test_children_are_collected_with_their_job_and_found_by_its_label(name: str) -> None:
    metadata = RENDERED[name]["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "uid-job",
        True,
        True,
    )
    assert metadata["labels"][names.LABEL_JOB] == "tickets"


@pytest.mark.parametrize("name", JOBS)
def test_pods_pass_the_restricted_standard(name: str) -> None:
    pod = RENDERED[name]["spec"]["template"]["spec"]
    allowed = {"emptyDir", "secret"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


@pytest.mark.parametrize("name", JOBS)
def test_kubernetes_finds_nothing_to_expand_in_the_configuration(name: str) -> None:
    (config,) = [e["value"] for e in container(name)["env"] if e["name"] == names.ENV_JOB]
    assert "$" not in config
    assert (
        json.loads(config)["spec"]["dataset"]["train"]["uri"] == "s3://corpus/$(HOME)/train.jsonl"
    )


def test_prepare_never_takes_a_gpu_and_requires_the_secrets_that_training_pods_do_not() -> None:
    assert "nvidia.com/gpu" not in json.dumps(container("prepare-everything")["resources"])
    assert container("train-everything")["resources"]["limits"]["nvidia.com/gpu"] == "8"
    for name, is_optional in (("prepare-everything", False), ("train-everything", True)):
        volumes = RENDERED[name]["spec"]["template"]["spec"]["volumes"]
        secrets = [volume["secret"] for volume in volumes if "secret" in volume]
        assert [secret["secretName"] for secret in secrets] == ["s3-credentials", "site-ca"]
        assert {secret.get("optional", False) for secret in secrets} == {is_optional}


def test_a_token_is_mounted_only_where_a_service_account_is_named() -> None:
    mounted = {
        name: RENDERED[name]["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for name in JOBS
    }
    assert mounted == {
        "prepare-plain": False,
        "prepare-everything": True,
        "train-plain": False,
        "train-everything": True,
    }
