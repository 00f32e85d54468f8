"""Index 0 dies: the others wait for the next one, which books what was lost and carries on."""

import os
import signal
from collections.abc import Callable
from datetime import datetime

from tests.component.gang.gang import Door, GangRun, free_address, wait_for
from tests.component.gang.test_happy import expected_weights

STEPS = {"steps": 24, "every": 4, "seconds": 0.1}


def test_a_new_index_0_carries_on(s3_gang: Callable[..., GangRun]) -> None:
    run = s3_gang(pods=2, **STEPS | {"every": 8})
    run.start_all()
    run.at_step(11, durable=8)
    reached = run.progress()["step"]
    model = (run.folder / "pod-1" / "plan.json").stat().st_ino
    peer = run.rank_pids(1)
    run.kill(0)
    wait_for(lambda: not any(map(_alive, peer)), "peers stop without index 0", 15)
    run.start(0, fresh=True)
    assert run.wait() == 0, run.logs()

    first, second = run.attempts()
    assert (first["class"], first["message"]) == ("PodLost", "index 0 was lost")
    assert first["pod"] == "demo-train-0"
    assert first["toStep"] >= reached  # the peer told: no checkpoint has this step
    assert first["seconds"] >= 1.0
    begin = second["fromStep"]
    assert begin >= 8
    assert run.weights() == expected_weights(24)
    assert len(run.everyone) == 3  # pod 1 kept its supervisor
    assert (run.folder / "pod-1" / "plan.json").stat().st_ino == model
    report = run.read("report/report.json") or {}
    assert [p["step"] for p in report["series"]] == list(range(1, 25))  # the curve outlived it
    accounting = report["accounting"]
    assert accounting["gpuSeconds"] == round(2 * (first["seconds"] + second["seconds"]))
    repeated = (first["toStep"] - begin) / first["toStep"]
    assert accounting["wastedGpuSeconds"] == round(2 * first["seconds"] * repeated)


def test_when_all_die_at_once_the_bucket_is_enough(gang: Callable[..., GangRun]) -> None:
    run = gang(pods=2, checkpointing={"keepLast": 9}, **STEPS)
    run.start_all()
    run.at_step(14, durable=12)
    for index in (0, 1):
        run.kill(index)
    for index in (0, 1):
        run.start(index, fresh=True)
    assert run.wait() == 0, run.logs()

    first, second = run.attempts()
    assert first["message"] == "index 0 was lost"
    step = first["toStep"]
    saved = run.read(f"checkpoints/a0001/step-{step:08d}/MANIFEST.json") or {}
    taken = datetime.fromisoformat(saved["savedAt"]) - datetime.fromisoformat(first["start"])
    assert second["fromStep"] == step >= 12
    assert first["seconds"] == taken.total_seconds() >= 1
    assert run.weights() == expected_weights(24)


def test_a_zombie_finds_itself_replaced(gang: Callable[..., GangRun]) -> None:
    """Index 0 stands still, is replaced, and wakes up while the next one trains."""
    run = gang(pods=2, environment={"FINETUNE_TIMING_LOST_AFTER": "2"}, **STEPS)
    old, peer = run.addresses
    zombie = run.start(0)
    door = Door(old)
    run.addresses = [door.address, peer]
    run.start(1)
    run.addresses = [old, peer]
    run.at_step(6, durable=4)
    os.kill(zombie.pid, signal.SIGSTOP)
    wait_for(lambda: not run.rank_pids(1), "the peer gives up on a silent index 0", 15)
    run.addresses = [free_address(), peer]
    door.target = run.addresses[0]
    run.start(0, fresh=True)
    wait_for(lambda: run.read("attempts/0002.json"), run.logs)
    os.kill(zombie.pid, signal.SIGCONT)
    assert zombie.wait(20) == 61, run.logs()
    assert run.wait() == 0, run.logs()
    door.close()

    assert [a["class"] for a in run.attempts()] == ["PodLost", "Completed"]
    assert run.attempts()[0]["message"] == "index 0 was lost"
    assert run.weights() == expected_weights(24)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
