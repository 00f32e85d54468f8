"""`finetune run job.yaml`: the same job and trainer without a cluster, on folders."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from examples.base_model import base_model
from tests.e2e.conftest import EXAMPLE, RUN_SECONDS

pytestmark = pytest.mark.timeout(RUN_SECONDS)


def test_the_example_runs_on_a_laptop_and_again_it_is_already_done(tmp_path: Path) -> None:
    rows = tmp_path / "docstrings.jsonl"
    subprocess.run([sys.executable, EXAMPLE / "make_data.py", rows], check=True)
    few = rows.read_text(encoding="utf-8").splitlines(keepends=True)[:400]
    rows.write_text("".join(few), encoding="utf-8")
    job = YAML(typ="safe").load((EXAMPLE / "job.yaml").read_text())
    job["spec"] |= {
        "model": {"uri": f"file://{base_model()}/"},
        "output": {"uri": f"file://{tmp_path}/out/"},
        "training": {"maxSteps": 4, "learningRate": 1e-3},
        "resources": {"nodes": 1, "gpusPerNode": 0},
        "distribution": {"strategy": "DDP"},
        "storage": {},
    }
    job["spec"]["dataset"]["train"]["uri"] = f"file://{rows}"
    manifest = tmp_path / "job.yaml"
    YAML().dump(job, manifest)

    command = [sys.executable, "-m", "finetune_cli", "run", manifest]
    first = subprocess.run(
        [*command, "--workdir", tmp_path / "work"], capture_output=True, text=True
    )
    assert first.returncode == 0, first.stdout + first.stderr
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert report["step"] == 4
    assert {result["metric"] for result in report["evaluation"]} == {"accuracy", "macro_f1"}
    adapter = tmp_path / "out" / "adapter" / "adapter_model.safetensors"
    made = adapter.stat().st_mtime_ns

    again = subprocess.run(
        [*command, "--workdir", tmp_path / "other"], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert adapter.stat().st_mtime_ns == made


def test_a_mistake_in_the_job_is_one_sentence_and_no_stack_trace(tmp_path: Path) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text((EXAMPLE / "job.yaml").read_text().replace("rank: 16", "rnak: 16"))
    command = [sys.executable, "-m", "finetune_cli", "run", manifest]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert 'unknown field, did you mean "rank"?' in refused.stderr
    assert "Traceback" not in refused.stderr
