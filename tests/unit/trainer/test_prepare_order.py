"""Mistakes of addresses, settings and rows are told before the model's libraries are imported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune_api import names
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import build

SLOW = ("torch", "transformers", "datasets", "sklearn")
PROGRAM = f"""
import sys
from finetune_trainer.prepare import main
code = main()
print(code, *(name for name in {SLOW} if name in sys.modules))
"""


def prepare(folder: Path, **spec: Any) -> tuple[list[str], dict[str, Any]]:
    """Last line of the program, and the termination message."""
    manifest = {
        "metadata": {"name": "job", "namespace": "team"},
        "spec": {
            "task": "TextClassification",
            "model": {"uri": f"{folder.as_uri()}/model/"},
            "dataset": {"train": {"uri": f"{folder.as_uri()}/rows.jsonl"}},
            "method": {"lora": {}},
            "resources": {"gpusPerNode": 0},
            "output": {"uri": f"{folder.as_uri()}/output/"},
            **spec,
        },
    }
    environment = {
        **os.environ,
        names.ENV_JOB: build(FineTuneJob.from_manifest(manifest)).to_env(),
        names.ENV_WORKDIR: str(folder / "work"),
        names.ENV_TERMINATION: str(folder / "message"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1].split(), json.loads((folder / "message").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    header = b"{}"
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert"}')
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    rows = [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_bad_rows(folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"text": "x"}\n')
    told, message = prepare(folder)
    assert told == ["41"]
    assert "field 'label' is missing" in message["message"]
    assert not (folder / "output" / "run.json").exists()


def test_bad_addresses_of_model_and_data_are_told_together(folder: Path) -> None:
    (folder / "rows.jsonl").unlink()
    (folder / "model" / "config.json").unlink()
    told, message = prepare(folder)
    assert told == ["40"]
    assert "has no config.json" in message["message"]
    assert "rows.jsonl does not exist" in message["message"]


def test_bad_batch(folder: Path) -> None:
    training = {"globalBatchSize": 8, "perDeviceBatchSize": 3}
    told, message = prepare(folder, training=training)
    assert told == ["40"]
    assert "perDeviceBatchSize 3" in message["message"]


def test_the_check_can_fail(folder: Path) -> None:
    told, _ = prepare(folder)
    assert "torch" in told
