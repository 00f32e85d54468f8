"""The example from `kubectl apply` to a report: status, bucket, metrics, and a usable adapter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import HELLO, RUN_SECONDS, Finished, Site, fetch

pytestmark = pytest.mark.timeout(2 * RUN_SECONDS)


def series(text: str, name: str) -> dict[str, float]:
    pattern = rf"^{re.escape(name)}(\{{.*\}})? (\S+)$"
    return {m[1] or "": float(m[2]) for m in re.finditer(pattern, text, re.MULTILINE)}


def test_status_tells_plan_data_result_and_where_it_is(hello: Finished) -> None:
    status = hello.status
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    wanted = ("Validated", "DataReady", "CheckpointAvailable", "Evaluated", "Succeeded")
    assert {kind: conditions[kind] for kind in wanted} == dict.fromkeys(wanted, "True")
    plan = status["plan"]
    assert (plan["ranks"], plan["strategy"], plan["zeroStage"]) == (2, "DeepSpeed", 2)
    assert plan["ranks"] * plan["microBatch"] * plan["accumulation"] == plan["globalBatch"] == 32
    assert status["data"]["labels"] == 12
    assert status["data"]["testRows"] == status["evaluation"][0]["rows"]
    assert [attempt["number"] for attempt in status["attempts"]] == [1]
    assert status["artifacts"]["adapter"] == f"s3://models/{HELLO}/adapter/"
    assert status["display"]["status"] == "Succeeded"
    assert status["display"]["progress"].startswith("100%")


def test_the_base_is_a_probe_worth_comparing_with(hello: Finished) -> None:
    accuracy = next(r for r in hello.status["evaluation"] if r["metric"] == "accuracy")
    assert float(accuracy["base"]) > 3 / 12
    assert float(accuracy["tuned"]) > 3 / 12


def test_the_bucket_holds_the_whole_run_and_nothing_half_done(site: Site, hello: Finished) -> None:
    objects = site.objects(HELLO)
    assert {"run.json", "plan-1.json", "final.json", "report/report.json"} <= objects.keys()
    assert "adapter/adapter_model.safetensors" in objects
    assert {"attempts/0001.json", "attempts/0001.end.json"} <= objects.keys()
    manifests = [key for key in objects if re.fullmatch(r"checkpoints/.*/MANIFEST.json", key)]
    steps = [int(key.split("step-")[1].split("/")[0]) for key in manifests]
    assert max(steps) == hello.status["checkpoint"]["step"]
    for key in manifests:
        manifest = site.read_json(HELLO, key)
        folder = key.removesuffix("MANIFEST.json")
        listed = {f"{folder}{file['path']}": file["size"] for file in manifest["files"]}
        assert listed.items() <= objects.items()


def test_loss_and_step_are_real_series_of_rank_0s_pod(hello: Finished) -> None:
    first, second = hello.scraped
    (step,) = series(first, "finetune_training_step").values()
    (loss,) = series(first, "finetune_training_loss").values()
    assert step >= 3
    assert 0 < loss < 10
    assert "finetune_training_loss{" not in second


def test_the_operator_counts_its_work(site: Site, hello: Finished) -> None:
    text = fetch(f"{site.operator}/metrics")
    assert sum(series(text, "finetune_operator_reconciles_total").values()) > 0
    assert HELLO in text


def test_kubectl_shows_the_run_as_documented(site: Site, hello: Finished) -> None:
    header, row = site.cluster.kubectl("get", "ftj", HELLO).splitlines()
    columns = ["NAME", "STATUS", "PROGRESS", "LOSS", "ETA", "GPUS", "RESTARTS", "AGE"]
    assert header.split() == columns
    assert row.split()[:2] == [HELLO, "Succeeded"]
    described = site.cluster.kubectl("describe", "ftj", HELLO)
    for reason in ("PrepareStarted", "DataReady", "TrainingStarted", "Succeeded"):
        assert reason in described
    assert "local-secret-key" not in described


def test_the_adapter_loads_in_plain_peft_with_the_same_logits(
    site: Site, hello: Finished, tmp_path: Path
) -> None:
    fingerprint = hello.status["prepared"]["fingerprint"]
    adapter = site.download(HELLO, "adapter/", tmp_path / "adapter")
    rows = site.download(HELLO, f"prepared/{fingerprint}/test/", tmp_path / "test")
    report = site.download(HELLO, "report/", tmp_path / "report")
    program = Path(__file__).with_name("load_adapter.py")
    result = subprocess.run(
        [sys.executable, program, site.model, adapter, rows, report / "predictions.npz"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1e-4


def test_the_operator_writes_little(site: Site, hello: Finished) -> None:
    user = "system:serviceaccount:finetune-system:finetune-operator"
    writes = site.cluster.audited(user=user, namespace="default")
    created = [w["resource"] for w in writes if w["verb"] == "create" and w["resource"] != "events"]
    assert sorted(created) == ["jobs", "jobs", "services"]
    assert {w["verb"] for w in writes} <= {"create", "patch"}
