"""The example from `kubectl apply` to a report: status, bucket, metrics, and a usable adapter."""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from localcluster.cluster import wait_for
from tests.e2e.conftest import RUN_SECONDS, Site

JOB = "hello-lora"
pytestmark = pytest.mark.timeout(RUN_SECONDS + 60)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
        return text


def series(text: str, name: str) -> dict[str, float]:
    pattern = rf"^{re.escape(name)}(\{{.*\}})? (\S+)$"
    return {m[1] or "": float(m[2]) for m in re.finditer(pattern, text, re.MULTILINE)}


@pytest.fixture(scope="module")
def finished(site: Site) -> dict[str, Any]:
    """The ended run, with what was scraped from both pods while it trained."""
    site.apply(site.job(JOB))

    def training_metrics() -> list[str] | None:
        pods = site.pods(JOB)
        if len(pods) < 2 or (site.status(JOB).get("progress") or {}).get("step", 0) < 3:
            return None
        return [fetch(f"http://{pods[i]['status']['podIP']}:9300/metrics") for i in (0, 1)]

    scraped = wait_for(training_metrics, what="training", seconds=RUN_SECONDS, interval=0.5)
    return {"status": site.wait_finished(JOB), "scraped": scraped}


def test_status_tells_plan_data_result_and_where_it_is(finished: dict[str, Any]) -> None:
    status = finished["status"]
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    wanted = ("Validated", "DataReady", "CheckpointAvailable", "Evaluated", "Succeeded")
    assert {kind: conditions[kind] for kind in wanted} == dict.fromkeys(wanted, "True")
    plan = status["plan"]
    assert (plan["ranks"], plan["strategy"], plan["zeroStage"]) == (2, "DeepSpeed", 2)
    assert plan["ranks"] * plan["microBatch"] * plan["accumulation"] == plan["globalBatch"] == 32
    assert status["data"]["labels"] == 12
    assert status["data"]["testRows"] == status["evaluation"][0]["rows"]
    assert [attempt["number"] for attempt in status["attempts"]] == [1]
    assert status["artifacts"]["adapter"] == f"s3://models/{JOB}/adapter/"
    assert status["display"]["status"] == "Succeeded"
    assert status["display"]["progress"].startswith("100%")


def test_the_base_is_a_probe_worth_comparing_with(finished: dict[str, Any]) -> None:
    accuracy = next(r for r in finished["status"]["evaluation"] if r["metric"] == "accuracy")
    assert float(accuracy["base"]) > 3 / 12
    assert float(accuracy["tuned"]) > 3 / 12


def test_the_bucket_holds_the_whole_run_and_nothing_half_done(
    site: Site, finished: dict[str, Any]
) -> None:
    objects = site.objects(JOB)
    assert {"run.json", "plan-1.json", "final.json", "report/report.json"} <= objects.keys()
    assert "adapter/adapter_model.safetensors" in objects
    assert {"attempts/0001.json", "attempts/0001.end.json"} <= objects.keys()
    manifests = [key for key in objects if re.fullmatch(r"checkpoints/.*/MANIFEST.json", key)]
    steps = [int(key.split("step-")[1].split("/")[0]) for key in manifests]
    assert max(steps) == finished["status"]["checkpoint"]["step"]
    for key in manifests:
        manifest = site.read_json(JOB, key)
        folder = key.removesuffix("MANIFEST.json")
        listed = {f"{folder}{file['path']}": file["size"] for file in manifest["files"]}
        assert listed.items() <= objects.items()


def test_loss_and_step_are_real_series_of_rank_0s_pod(finished: dict[str, Any]) -> None:
    first, second = finished["scraped"]
    (step,) = series(first, "finetune_training_step").values()
    (loss,) = series(first, "finetune_training_loss").values()
    assert step >= 3
    assert 0 < loss < 10
    assert "finetune_training_loss{" not in second


def test_the_operator_counts_its_work(site: Site, finished: dict[str, Any]) -> None:
    text = fetch(f"{site.operator}/metrics")
    assert sum(series(text, "finetune_operator_reconcile_total").values()) > 0
    assert JOB in text


def test_kubectl_shows_the_run_as_documented(site: Site, finished: dict[str, Any]) -> None:
    header, row = site.cluster.kubectl("get", "ftj", JOB).splitlines()
    columns = ["NAME", "STATUS", "PROGRESS", "LOSS", "ETA", "GPUS", "RESTARTS", "AGE"]
    assert header.split() == columns
    assert row.split()[:2] == [JOB, "Succeeded"]
    described = site.cluster.kubectl("describe", "ftj", JOB)
    for reason in ("PrepareStarted", "DataReady", "TrainingStarted", "Succeeded"):
        assert reason in described
    assert "local-secret-key" not in described


def test_the_adapter_loads_in_plain_peft_with_the_same_logits(
    site: Site, finished: dict[str, Any], tmp_path: Path
) -> None:
    fingerprint = finished["status"]["prepared"]["fingerprint"]
    adapter = site.download(JOB, "adapter/", tmp_path / "adapter")
    rows = site.download(JOB, f"prepared/{fingerprint}/test/", tmp_path / "test")
    report = site.download(JOB, "report/", tmp_path / "report")
    program = Path(__file__).with_name("load_adapter.py")
    result = subprocess.run(
        [sys.executable, program, site.model, adapter, rows, report / "predictions.npz"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1e-4


def test_the_operator_writes_little(site: Site, finished: dict[str, Any]) -> None:
    user = "system:serviceaccount:finetune-system:finetune-operator"
    writes = site.cluster.audited(user=user)
    created = [w["resource"] for w in writes if w["verb"] == "create" and w["resource"] != "events"]
    assert sorted(created) == ["jobs", "jobs", "services"]
    assert {w["verb"] for w in writes} <= {"create", "patch"}
