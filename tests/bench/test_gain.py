"""What the example's job gains over its base, over three seeds: other splits, other order of rows.

Prints one line a number; run with `make bench`. Two pods, no cluster.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from examples.base_model import base_model
from finetune_trainer.evaluate.classes import compare
from tests.e2e.conftest import EXAMPLE

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]

SEEDS = (42, 43, 44)


def run(folder: Path, rows: Path, seed: int) -> dict[str, np.ndarray]:
    """The example's job on folders, with this seed; what base and tuned model say of each row."""
    job = YAML(typ="safe").load((EXAMPLE / "job.yaml").read_text())
    job["spec"] |= {
        "model": {"uri": f"file://{base_model()}/"},
        "output": {"uri": f"file://{folder}/out/"},
        "resources": {"nodes": 2, "gpusPerNode": 0},
        "storage": {},
    }
    job["spec"]["dataset"]["train"]["uri"] = f"file://{rows}"
    job["spec"]["training"]["seed"] = seed
    folder.mkdir()
    manifest = folder / "job.yaml"
    YAML().dump(job, manifest)
    command = [sys.executable, "-m", "finetune_cli", "run", manifest, "--workdir", folder / "work"]
    subprocess.run(command, check=True)
    report = json.loads((folder / "out" / "report" / "report.json").read_text())
    for row in report["evaluation"]:
        print(f"seed {seed}: {row['metric']} {row['base']} -> {row['tuned']}, {row['interval']}")
    with np.load(folder / "out" / "report" / "predictions.npz") as arrays:
        return dict(arrays)


def test_the_examples_gain_over_three_seeds(tmp_path: Path) -> None:
    rows = tmp_path / "docstrings.jsonl"
    subprocess.run([sys.executable, EXAMPLE / "make_data.py", rows], check=True)
    runs = [run(tmp_path / f"seed-{seed}", rows, seed) for seed in SEEDS]
    truth, base, tuned = (
        np.concatenate([found[name] for found in runs]) for name in ("truth", "base", "tuned")
    )
    pooled = compare(truth, base, tuned, seed=0)
    print(f"\nof {len(truth)} test rows: {pooled.wins} won, {pooled.losses} lost")
    for row in pooled.results:
        print(f"all seeds: {row.metric} {row.base} -> {row.tuned}, {row.interval}")
        assert float(row.interval.split(" to ")[0]) > 0
