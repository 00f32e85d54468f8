"""SIGTERM at any moment, to one pod or to all: every rank leaves after the same step, nothing
hangs, and the run that goes on ends with the uninterrupted result."""

import random
import re
import time
from collections.abc import Callable

import pytest

from tests.component.gang.gang import GangRun, wait_for
from tests.component.gang.test_happy import expected_weights
from tests.component.storage.proxy import FaultProxy

STEPS = 30
HOW = {
    "one": {},
    "all, one after the other": {},
    "one in a save": {"save": 0.3},
    "one in an evaluation": {"evaluate": 0.3},
    "one in an upload": {},
}
USUAL = (1, 7)
"""Seeds for every day: all pods of two ranks, and one of two pods of two ranks in a save."""
RUNS = 60


def runs() -> list[object]:
    return [
        pytest.param(seed, marks=[] if seed in USUAL else pytest.mark.chaos) for seed in range(RUNS)
    ]


@pytest.mark.parametrize("seed", runs())
def test_preempted_at_any_moment(
    proxied: Callable[..., GangRun], proxy: FaultProxy, seed: int
) -> None:
    rng = random.Random(seed)
    how, ranks = list(HOW)[seed % len(HOW)], 1 + seed // len(HOW) % 2
    if how == "one in an upload":
        proxy.fault = lambda exchange: time.sleep(0.1 * ("/checkpoints/" in exchange.path))
    run = proxied(pods=2, gpus=ranks, steps=STEPS, every=4, **HOW[how])
    run.start_all()
    left = 0
    while left < 2:
        run.at_step(1)
        time.sleep(rng.uniform(0, 1))
        pods = [0, 1] if how.startswith("all") else [rng.randrange(2)]
        for pod in rng.sample(pods, len(pods)):
            wait_for(lambda pod=pod: run.get("/healthz", pod), "its supervisor listens")
            run.terminate(pod)
            time.sleep(rng.uniform(0, 0.3) * (len(pods) - 1))
        codes = {pod: run.wait(pod) for pod in pods}
        assert set(codes.values()) <= {0, 50}, run.logs()
        if 0 in codes.values():
            break
        left += 1
        for pod in pods:
            run.start(pod, fresh=True)
    assert run.wait() == 0, run.logs()
    assert run.weights() == expected_weights(STEPS)
    attempts = run.attempts()
    assert {a["class"] for a in attempts} <= {"Preempted", "PodLost", "Completed"}
    for attempt in attempts:
        logs = run.store.list(f"{run.output}logs/a{attempt['number']:04d}/", required=False)
        words = "".join(run.store.read_bytes(o.uri).decode() for o in logs)
        steps = [int(step) for step in re.findall(r"left after step (\d+)", words)]
        assert len(set(steps)) <= 1, f"attempt {attempt['number']} left after steps {steps}"
        if attempt["class"] == "Preempted":
            assert set(steps) <= {attempt["toStep"]}
