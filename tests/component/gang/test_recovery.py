"""Losses of ranks and pods: the gang goes on in place, from the last durable step."""

import json
import os
import signal
from collections.abc import Callable

from tests.component.gang.gang import PLAN, GangRun, wait_for
from tests.component.gang.test_happy import expected_weights

STEPS = {"steps": 24, "every": 4, "seconds": 0.1}


def test_a_killed_rank_restarts_the_gang_in_place(s3_gang: Callable[..., GangRun]) -> None:
    run = s3_gang(pods=2, **STEPS)
    run.start_all()
    run.at_step(6, durable=4)
    before = {index: run.rank_pids(index) for index in (0, 1)}
    os.kill(before[1][0], signal.SIGKILL)
    assert run.wait() == 0, run.logs()

    first, second = run.attempts()
    assert first["class"] == "RankFailed"
    assert first["message"] == "rank 1 was killed by SIGKILL"
    assert first["pod"] == "demo-train-1"
    assert second["class"] == "Completed"
    assert 4 <= second["fromStep"] <= first["toStep"]
    assert run.weights() == expected_weights(24)
    assert all(p.poll() in (None, 0) for p in run.everyone)
    assert len(run.everyone) == 2  # no supervisor was replaced


def test_a_lost_pod_is_awaited_and_the_others_stay(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, **STEPS)
    run.start_all()
    run.at_step(6, durable=4)
    ranks = run.rank_pids(1)
    run.kill(1)
    wait_for(lambda: not any(_alive(pid) for pid in ranks), "ranks die with their supervisor", 2)
    wait_for(lambda: run.progress()["stage"] == "waiting", run.logs)
    assert run.rank_pids(0) == []
    assert run.progress()["podsJoined"] == 1
    run.start(1, fresh=True)
    assert run.wait() == 0, run.logs()

    first, second = run.attempts()
    assert (first["class"], second["class"]) == ("PodLost", "Completed")
    assert second["fromStep"] >= 4
    assert run.weights() == expected_weights(24)


def test_a_silent_pod_counts_as_lost(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, environment={"FINETUNE_TIMING_LOST_AFTER": "2"}, **STEPS)
    run.start_all()
    run.at_step(2)
    os.kill(run.processes[1].pid, signal.SIGSTOP)
    wait_for(lambda: run.progress()["stage"] == "waiting", run.logs)
    os.kill(run.processes[1].pid, signal.SIGCONT)
    assert run.wait() == 0, run.logs()
    assert [a["class"] for a in run.attempts()] == ["PodLost", "Completed"]


def test_a_hanging_rank_is_named_with_its_stacks(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, environment={"FINETUNE_TIMING_STALL_MINIMUM": "2"}, **STEPS)
    run.order(1, 6, "hang")
    run.start_all()
    assert run.wait() == 0, run.logs()
    first, second = run.attempts()
    assert first["class"] == "RankFailed"
    assert first["message"].startswith("rank 1 stood still for")
    assert second["fromStep"] == 4
    log = (run.folder / "pod-1" / "logs" / "a0001" / "r1.log").read_text()
    assert "in fault" in log
    assert "in fault" in run.store.read_bytes(run.output + "logs/a0001/r1.log").decode()


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_loss_that_is_no_number_goes_back_with_half_the_rate_twice_at_most(
    gang: Callable[..., GangRun],
) -> None:
    run = gang(pods=2, training={"nonFinite": "Rollback"})
    for step in (6, 7, 8):
        run.order(0, step, "nan")
    run.start_all()
    assert run.wait() == 43, run.logs()
    assert run.termination()["failure"]["message"] == "loss became nan at step 8"
    ended = [(a["class"], a["fromStep"], a["plan"]) for a in run.attempts()]
    assert ended == [("NonFinite", 0, 1), ("NonFinite", 4, 2), ("NonFinite", 4, 3)]
    assert "back to the last checkpoint" in run.attempts()[1]["message"]
    assert "back to" not in run.attempts()[2]["message"]
    for number, rate in ((1, 0.4), (2, 0.2), (3, 0.1)):
        plan = run.read(f"plan-{number}.json")
        assert plan is not None
        assert plan["learningRate"] == rate
    assert json.loads((run.folder / "pod-1" / "plan.json").read_text())["learningRate"] == 0.1


def test_a_run_that_went_back_ends_well_and_a_plain_one_stops_at_once(
    gang: Callable[..., GangRun],
) -> None:
    back = gang(pods=1, training={"nonFinite": "Rollback"})
    back.order(0, 6, "nan")
    back.start_all()
    assert back.wait() == 0, back.logs()
    assert back.weights() == expected_weights()
    plain = gang(pods=1)
    plain.order(0, 6, "nan")
    plain.start_all()
    assert plain.wait() == 43, plain.logs()
    assert len(plain.attempts()) == 1


def test_a_suspended_run_goes_on_with_fewer_pods_and_the_newest_plan(
    gang: Callable[..., GangRun],
) -> None:
    wide = gang(pods=2, **STEPS)
    wide.start_all()
    wide.at_step(6)
    for index in (0, 1):
        wide.terminate(index)
    assert [wide.wait(index) for index in (0, 1)] == [50, 50], wide.logs()
    narrow = gang(pods=1, output=wide.output, **STEPS)
    narrow.store.write_json(f"{wide.output}plan-2.json", {**PLAN, "ranks": 1})
    narrow.start_all()
    assert narrow.wait() == 0, narrow.logs()

    first, second = narrow.attempts()
    assert (first["plan"], first["worldSize"], second["plan"], second["worldSize"]) == (1, 2, 2, 1)
    assert second["fromStep"] == first["toStep"] >= 6
    assert narrow.weights() == expected_weights(24)
    assert json.loads((narrow.folder / "pod-0" / "plan.json").read_text())["ranks"] == 1


def test_memory_that_runs_out_is_met_with_smaller_plans_until_none_is_left(
    gang: Callable[..., GangRun],
) -> None:
    run = gang(pods=2, max_attempts=1)
    plan = {"ranks": 2, "microBatch": 2, "accumulation": 1, "checkpointable": True}
    run.store.write_json(f"{run.output}plan-1.json", PLAN | plan)
    for step in (6, 7):
        run.order(1, step, "memory")
    run.start_all()
    assert run.wait() == 0, run.logs()
    assert run.weights() == expected_weights()
    ended = [(a["class"], a["fromStep"], a["plan"]) for a in run.attempts()]
    assert ended == [("OutOfMemory", 0, 1), ("OutOfMemory", 4, 2), ("Completed", 4, 3)]
    assert run.attempts()[0]["message"].endswith("with a smaller plan")
    assert run.attempts()[0]["pod"] == "demo-train-1"
    made = [run.read(f"plan-{number}.json") or {} for number in (2, 3)]
    assert [(p["microBatch"], p["accumulation"]) for p in made] == [(1, 2), (1, 2)]
    assert made[1]["gradientCheckpointing"]
    assert json.loads((run.folder / "pod-1" / "plan.json").read_text()) == made[1]


def test_memory_that_runs_out_of_the_smallest_plan_ends_the_run(
    gang: Callable[..., GangRun],
) -> None:
    run = gang(pods=1)
    run.order(0, 6, "memory")
    run.start_all()
    assert run.wait() == 42, run.logs()
    assert run.termination()["failure"]["message"] == "CUDA out of memory"
    assert run.read("plan-2.json") is None


def test_a_pod_whose_hardware_fails_leaves_and_its_node_is_named(
    gang: Callable[..., GangRun],
) -> None:
    run = gang(pods=2)
    run.order(1, 6, "ecc")
    run.start_all()
    assert run.wait(1) == 60, run.logs()
    told = run.termination(1)["failure"]
    assert told["class"] == "HardwareFault"
    assert "uncorrectable ECC error" in told["message"]
    run.start(1, fresh=True)
    assert run.wait() == 0, run.logs()
    assert run.weights() == expected_weights()
    first, last = run.attempts()
    assert (first["class"], first["node"], last["class"]) == (
        "HardwareFault",
        "node-1",
        "Completed",
    )
