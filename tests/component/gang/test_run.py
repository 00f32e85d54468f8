"""`finetune-trainer run` without prepare's imports: a stand-in that gives the fingerprint."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from finetune_api.progress import DataSummary, Plan, Prepared, PrepareResult
from tests.component.gang.gang import FAKE_RANK, FINGERPRINT, GangRun, outliving
from tests.component.gang.test_happy import expected_weights

RESULT = PrepareResult(
    prepared=Prepared(
        inputs_hash="i", fingerprint=FINGERPRINT, cpu="1", memory="1Gi", shared_memory="1Gi",
        disk="1Gi", grace_seconds=60, model_bytes=1, checkpoint_bytes=1,
    ),
    plan=Plan(
        ranks=2, micro_batch=1, accumulation=1, global_batch=2, strategy="DDP", precision="fp32",
        max_length=8, learning_rate=1e-4, steps=12, steps_per_epoch=12, checkpoint_every=4,
        memory_bytes=1,
    ),
    data=DataSummary(rows=1, train_rows=1, validation_rows=1, test_rows=1),
)  # fmt: skip


@contextmanager
def laptop(run: GangRun, **fake: str) -> Iterator[subprocess.Popen[str]]:
    """The command over a run's bucket; prepare is replaced by a module that comes first."""
    stand_in = run.folder / "stand-in"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "sitecustomize.py").write_text(
        f"""
import os, sys, types

def main():
    with open(os.environ["FINETUNE_TERMINATION_LOG"], "w") as file:
        file.write({RESULT.model_dump_json(by_alias=True)!r})
    return 0

module = types.ModuleType("finetune_trainer.prepare")
module.main = main
sys.modules["finetune_trainer.prepare"] = module
"""
    )
    document = run.folder / "jobconfig.json"
    document.write_text(run.config.to_env())
    environment = {
        **os.environ, "PYTHONPATH": str(stand_in), "FAKE_FAULTS": str(run.faults),
        "FINETUNE_RANK_COMMAND": f"{sys.executable} {FAKE_RANK}", **fake,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "finetune_trainer", "run", str(document),
         "--workdir", str(run.folder / "work")],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        below = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        process.kill()
        assert not outliving(below)


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Lines up to the one with ``text``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} was not said:\n{''.join(lines)}")


def test_two_pods_on_a_laptop_from_start_to_result(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2)
    with laptop(run) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "plan: 12 steps of 2 rows" in said
    assert "step 12 of 12  loss 0.0833" in said
    assert "accuracy: base 0.5, tuned 0.9" in said
    assert f"adapter: {run.output}adapter/" in said
    assert run.weights() == expected_weights()
    with laptop(run) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert ": nothing to do" in said
    assert f"adapter: {run.output}adapter/" in said
    assert len(run.attempts()) == 1


def test_ctrl_c_saves_and_the_same_command_goes_on(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2)
    slow = {"FAKE_STEPS": "24", "FAKE_EVERY": "100", "FAKE_SECONDS": "0.15"}
    with laptop(run, **slow) as process:
        read_until(process, "  step ")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 50, said
    assert "run the same command again to go on" in said
    (first,) = run.attempts()
    assert first["toStep"] > 0
    with laptop(run, **slow) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert run.attempts()[1]["fromStep"] == first["toStep"]
    assert run.weights() == expected_weights(24)


def test_a_file_that_is_no_job_is_one_sentence(tmp_path: Path) -> None:
    document = tmp_path / "job.json"
    document.write_text('{"apiVersion": "1.0", "name": 3}')
    command = [sys.executable, "-m", "finetune_trainer", "run", str(document)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 40
    assert done.stderr.count("\n") == 1
    assert "job.json: " in done.stderr
