"""Jobs, Jobs, pods and reports, said in one line each."""

import json
from dataclasses import replace
from typing import Any

from finetune_api import jobconfig
from finetune_api.exits import ExitClass
from finetune_api.job import FineTuneJob, Storage
from finetune_api.progress import PrepareResult, ProgressReport
from finetune_api.status import FineTuneJobStatus
from finetune_operator.plan.actions import Decision
from finetune_operator.plan.decide import decide
from finetune_operator.plan.snapshot import ChildJob, Observed, PodView
from finetune_operator.plan.validate import read_job
from finetune_operator.settings import Settings

NOW = 1_800_000_000.0
SETTINGS = Settings()


def manifest(*, name: str = "tickets", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": "uid-job",
            "generation": 1,
            "resourceVersion": "7",
        },
        "spec": {
            "task": "TextClassification",
            "model": {"uri": "s3://models/bert-tiny/"},
            "dataset": {"train": {"uri": "s3://corpus/train.jsonl"}},
            "method": {"lora": {"rank": 8}},
            "output": {"uri": "s3://models/tickets/"},
            "storage": {"secretName": "s3-credentials"},
            "resources": {"nodes": 2, "gpusPerNode": 1},
            **spec,
        },
    }


def a_job(**spec: Any) -> FineTuneJob:
    job, problems = read_job(manifest(**spec), Storage())
    assert job is not None, problems
    return job


def prepare_result(job: FineTuneJob, **prepared: Any) -> PrepareResult:
    return PrepareResult.model_validate(
        {
            "prepared": {
                "inputsHash": jobconfig.inputs_hash(job.spec),
                "fingerprint": "f1",
                "cpu": "4",
                "memory": "16Gi",
                "sharedMemory": "2Gi",
                "disk": "20Gi",
                "graceSeconds": 90,
                "modelBytes": 1000,
                "checkpointBytes": 100,
                **prepared,
            },
            "plan": {
                "ranks": 2,
                "microBatch": 8,
                "accumulation": 2,
                "globalBatch": 32,
                "strategy": "DeepSpeed",
                "zeroStage": 2,
                "precision": "bf16",
                "maxLength": 128,
                "learningRate": 2e-4,
                "steps": 2000,
                "stepsPerEpoch": 700,
                "checkpointEvery": 200,
                "memoryBytes": 1000,
            },
            "data": {
                "rows": 48120,
                "trainRows": 43000,
                "validationRows": 2400,
                "testRows": 2400,
                "dropped": {"duplicates": 190, "empty": 22},
                "tokens": 31_400_000,
                "lengthP95": 812,
                "report": "s3://models/tickets/data-report.json",
            },
        }
    )


def message(document: Any) -> str:
    return json.dumps(document.to_wire())


def prepare_child(job: FineTuneJob, **changes: Any) -> ChildJob:
    child = ChildJob(
        name="tickets-prepare",
        uid="uid-prepare",
        created_at=NOW - 3,
        inputs_hash=jobconfig.inputs_hash(job.spec),
        launch_hash=jobconfig.launch_hash(job.spec),
    )
    return replace(child, **changes)


def train_child(job: FineTuneJob, **changes: Any) -> ChildJob:
    child = ChildJob(
        name="tickets-train",
        uid="uid-train",
        created_at=NOW - 3,
        inputs_hash=jobconfig.inputs_hash(job.spec),
        launch_hash=jobconfig.launch_hash(job.spec),
        wanted=job.spec.resources.nodes,
    )
    return replace(child, **changes)


def pod(index: int = 0, **changes: Any) -> PodView:
    view = PodView(
        name=f"tickets-train-{index}-abc",
        uid=f"uid-pod-{index}",
        created_at=NOW - 3,
        index=index,
        node=f"node-{index}",
        ip=f"10.0.0.{index}",
        image="finetune-trainer:cuda",
        is_ready=True,
    )
    return replace(view, **changes)


def ended(index: int = 0, code: int = 0, text: str = "", **changes: Any) -> PodView:
    return pod(
        index,
        is_ready=False,
        exit_code=code,
        is_failed=code != 0,
        termination_message=text,
        finished_at=NOW - 1,
        **changes,
    )


def failure(exit_class: ExitClass, text: str, remedy: str = "") -> str:
    return json.dumps({"class": exit_class, "message": text, "remedy": remedy})


def report(**changes: Any) -> ProgressReport:
    return ProgressReport.model_validate(
        {
            "stage": "train",
            "attempt": 1,
            "pods": 2,
            "podsJoined": 2,
            "step": 1240,
            "totalSteps": 2000,
            "epoch": "1.86",
            "metrics": [
                {"name": "loss", "value": "1.0432"},
                {"name": "tokens_per_second", "value": "8410.4"},
                {"name": "step_seconds", "value": "3.7"},
            ],
            "heartbeatAgeSeconds": 6.2,
            "reportedAt": "2027-01-15T07:59:58Z",
            "attempts": [{"number": 1, "start": "2027-01-15T07:00:00Z"}],
            **changes,
        }
    )


def step(
    job: FineTuneJob | None,
    status: FineTuneJobStatus,
    observed: Observed,
    *,
    problems: tuple[str, ...] = (),
    now: float = NOW,
) -> Decision:
    return decide(job, problems, status, observed, SETTINGS, now)


def seen(**parts: Any) -> Observed:
    return Observed(**{"generation": 1, **parts})


def preparing(job: FineTuneJob) -> FineTuneJobStatus:
    return step(job, FineTuneJobStatus(), seen()).status


def prepared(job: FineTuneJob) -> FineTuneJobStatus:
    pods = (ended(text=message(prepare_result(job))),)
    child = prepare_child(job, is_complete=True, finished_at=NOW - 1)
    return step(job, preparing(job), seen(prepare=child, prepare_pods=pods)).status


def running(job: FineTuneJob, **progress: Any) -> FineTuneJobStatus:
    return step(job, prepared(job), running_picture(job, **progress)).status


def running_picture(job: FineTuneJob, **progress: Any) -> Observed:
    return seen(
        prepare=prepare_child(job, is_complete=True),
        train=train_child(job),
        has_service=True,
        train_pods=tuple(pod(index) for index in range(job.spec.resources.nodes)),
        progress=report(**progress),
    )
