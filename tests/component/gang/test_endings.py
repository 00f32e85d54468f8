"""How a run ends when it must: requests to leave, errors that stay, budgets, fences."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

from finetune_api.progress import ProgressReport
from finetune_trainer.storage.checkpoints import upload_folder
from tests.component.gang.gang import GangRun, wait_for
from tests.component.gang.test_happy import expected_weights

SLOW = {"steps": 24, "every": 100, "seconds": 0.1}


def test_one_pod_is_evicted(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, **SLOW)
    run.start_all()
    run.at_step(3)
    run.terminate(1)
    assert run.wait(1) == 50
    assert run.termination(1)["failure"]["class"] == "Preempted"
    wait_for(lambda: run.progress()["stage"] == "waiting", run.logs)
    assert run.processes[0].poll() is None
    (first,) = run.attempts()
    saved = run.progress()["checkpoint"]["step"]
    assert first["class"] == "Preempted"
    assert first["toStep"] == saved >= 3  # nothing was lost
    run.start(1, fresh=True)
    assert run.wait() == 0, run.logs()
    assert run.attempts()[1]["fromStep"] == saved
    assert run.weights() == expected_weights(24)


def test_index_0_is_evicted(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, **SLOW)
    run.start_all()
    run.at_step(3)
    run.terminate(0)
    assert run.wait(0) == 50
    step = run.termination(0)["checkpoint"]["step"]
    assert step >= 3
    assert run.processes[1].poll() is None
    run.start(0, fresh=True)
    assert run.wait() == 0, run.logs()
    assert run.attempts()[1]["fromStep"] == step


def test_a_suspended_run_leaves_as_a_whole(s3_gang: Callable[..., GangRun]) -> None:
    run = s3_gang(pods=2, **SLOW)
    run.start_all()
    run.at_step(3)
    for index in (0, 1):
        run.terminate(index)
    assert [run.wait(0), run.wait(1)] == [50, 50]
    (first,) = run.attempts()
    manifest = run.read(f"checkpoints/a0001/step-{first['toStep']:08d}/MANIFEST.json")
    assert manifest is not None


def test_a_request_while_waiting_needs_no_save(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2)
    run.start(0)
    wait_for(lambda: run.progress().get("podsJoined") == 1, "index 0 waits")
    run.terminate(0)
    assert run.wait(0, seconds=5) == 50
    assert run.attempts() == []


def test_a_request_to_a_supervisor_that_does_not_listen_yet_is_kept(
    gang: Callable[..., GangRun],
) -> None:
    run = gang(pods=1)
    process = run.start(0)
    status = Path(f"/proc/{process.pid}/status")
    sigterm = 1 << signal.SIGTERM - 1
    wait_for(
        lambda: int(re.search(r"SigBlk:\s*(\w+)", status.read_text())[1], 16) & sigterm,
        "requests are held",
    )
    run.terminate(0)
    assert run.wait(0, seconds=10) == 50
    assert run.termination(0)["failure"]["class"] == "Preempted"


def test_deaf_ranks_do_not_outlast_the_grace_time(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, environment={"FINETUNE_GRACE_SECONDS": "6"}, **SLOW)
    run.order(0, 4, "hang")
    run.start_all()
    run.at_step(3)
    run.terminate(0)
    assert run.wait(0, seconds=8) == 50


def test_a_users_error_ends_the_run_at_once(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, **SLOW)
    run.order(1, 3, "user")
    run.start_all()
    assert run.wait() == 40
    failure = run.termination()["failure"]
    assert failure["message"] == "labels are wrong"
    assert failure["rank"] == 1
    assert len(run.attempts()) == 1
    run.terminate(1)
    assert run.wait(1) == 50


def test_the_cause_is_told_and_not_its_echo(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, max_attempts=1, **SLOW)
    run.order(1, 3, "exit7")  # rank 0 then says "Connection closed by peer"
    run.start_all()
    assert run.wait() == 44
    failure = run.termination()["failure"]
    assert failure["class"] == "RetriesExhausted"
    assert "rank 1 exited with code 7" in failure["message"]
    assert "last line before the end" in failure["remedy"]


def test_the_retry_budget_is_spent_by_failures(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, max_attempts=2, **SLOW)
    run.order(0, 2, "crash")
    run.start_all()
    wait_for(lambda: len(run.attempts()) == 1, run.logs)
    run.order(0, 3, "crash")
    assert run.wait() == 44, run.logs()
    failure = run.termination()["failure"]
    assert "2 of 2 attempts failed" in failure["message"]
    assert "ValueError: something broke in rank code" in failure["message"]


def test_free_restarts_without_progress_end_the_run(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, **SLOW)
    for number in range(1, 6):
        run.store.write_json(f"{run.output}attempts/{number:04d}.json", {"fromStep": 0})
        end = {"class": "PodLost", "toStep": 3, "seconds": 1}
        run.store.write_json(f"{run.output}attempts/{number:04d}.end.json", end)
    run.start_all()
    assert run.wait() == 46
    assert "5 restarts in a row" in run.termination()["failure"]["message"]


def test_a_zombie_is_fenced(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, steps=40, every=4)
    run.start_all()
    run.at_step(3, durable=0)
    run.store.write_json(f"{run.output}attempts/0009.json", {"fromStep": 0, "start": ""})
    assert run.wait() == 61
    assert "attempt 9 exists" in run.termination()["failure"]["message"]
    assert run.read("final.json") is None
    assert run.rank_pids(0) == []


def test_a_damaged_checkpoint_gives_way_to_the_one_before(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1, steps=40, every=4)
    run.start_all()
    run.at_step(9, durable=8)
    run.kill(0)
    steps = sorted((run.folder / "bucket" / "checkpoints" / "a0001").glob("*/MANIFEST.json"))
    (steps[-1].parent / "trainer_state.json").write_text('{"step": 8, "x": "tampered"}')
    run.start(0, fresh=True)
    assert run.wait() == 0, run.logs()
    damaged = int(steps[-1].parent.name.removeprefix("step-"))
    assert run.attempts()[1]["fromStep"] < damaged
    assert (steps[-1].parent / "QUARANTINED.json").is_file()
    assert run.weights() == expected_weights(40)


def test_missing_inputs_are_a_users_error(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=1)
    (run.folder / "bucket" / "prepared" / "f00d" / "MANIFEST.json").unlink()
    run.start_all()
    assert run.wait() == 40
    assert "prepare" in run.termination()["failure"]["remedy"]
    assert upload_folder is not None


def test_a_run_that_is_no_better_keeps_its_report_and_no_result(
    gang: Callable[..., GangRun],
) -> None:
    run = gang(pods=2)
    run.order(0, 12, "gate")
    run.start_all()
    assert run.wait(0) == 45, run.logs()
    report = ProgressReport.read(run.read("report/report.json") or {})
    assert report.evaluation[0].tuned == "0.8"
    assert report.artifacts.to_wire() == {}
    assert run.read("final.json") is None
    assert [attempt["class"] for attempt in run.attempts()] == ["GateNotMet"]
