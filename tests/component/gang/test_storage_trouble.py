"""The storage goes away or refuses in the middle: the run waits for it, and what comes out is the
uninterrupted run's."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.component.gang.gang import GangRun
from tests.component.gang.test_happy import expected_weights
from tests.component.storage.proxy import Exchange, FaultProxy

AWAY_SECONDS = 2.0


class Outage:
    """Answers ``told`` to everything for a while, from the first request that ``begins`` it."""

    def __init__(self, begins: Callable[[Exchange], bool], told: str, seconds: float) -> None:
        status, _, self._code = told.partition(" ")
        self._begins, self._status, self._seconds = begins, int(status), seconds
        self.since: float | None = None
        self.refused = 0

    def __call__(self, exchange: Exchange) -> None:
        if self.since is None and self._begins(exchange):
            self.since = time.monotonic()
        if self.since is not None and time.monotonic() < self.since + self._seconds:
            exchange.answer, exchange.code = self._status, self._code
            self.refused += 1


def writes(part: str) -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.method == "PUT" and part in exchange.path


MOMENTS = {
    "at the start": lambda exchange: exchange.path.endswith("/final.json"),
    "between epochs": writes("attempts/0001.end.json"),
    "at a checkpoint": writes("checkpoints/a0001/step-00000004/MANIFEST"),
    "at the result": writes("/adapter/"),
    "at the last word": writes("/final.json"),
}


EXPIRED, SLOW_DOWN, BARE = "403 ExpiredToken", "503 SlowDown", "403"
USUAL = {("between epochs", EXPIRED), ("at the last word", SLOW_DOWN), ("at a checkpoint", BARE)}
OUTAGES = [
    pytest.param(moment, told, marks=[] if (moment, told) in USUAL else pytest.mark.chaos)
    for moment in MOMENTS
    for told in (EXPIRED, SLOW_DOWN, BARE)
]


@pytest.mark.parametrize(("moment", "told"), OUTAGES)
def test_a_storage_that_comes_back_costs_nothing(
    proxied: Callable[..., GangRun], proxy: FaultProxy, moment: str, told: str
) -> None:
    run = proxied()
    outage = proxy.fault = Outage(MOMENTS[moment], told, AWAY_SECONDS)
    run.order(1, 6, "crash")
    run.start_all()
    assert run.wait() == 0, run.logs()
    assert outage.refused
    assert run.weights() == expected_weights()
    assert [a["class"] for a in run.attempts()] == ["RankFailed", "Completed"]


@pytest.mark.parametrize(
    "moment", ["at the last word", pytest.param("between epochs", marks=pytest.mark.chaos)]
)
def test_a_storage_that_stays_away_ends_the_run_without_a_result(
    proxied: Callable[..., GangRun], proxy: FaultProxy, moment: str
) -> None:
    run = proxied(environment={"FINETUNE_TIMING_STORAGE_LIMIT": "2"})
    run.order(1, 6, "crash")
    run.start_all()
    proxy.fault = Outage(MOMENTS[moment], EXPIRED, 3600)
    assert run.wait() == 47, run.logs()
    failure = run.termination()["failure"]
    assert failure["class"] == "StorageLost"
    assert "the storage did not serve this run for" in failure["message"]
    proxy.fault = lambda exchange: None
    assert run.read("final.json") is None


def test_an_agent_that_is_killed_in_the_middle_is_started_again(
    s3_gang: Callable[..., GangRun],
) -> None:
    run = s3_gang()
    run.start_all()
    run.at_step(2)
    for _ in range(3):
        for agent in run.agents(0):
            os.kill(agent, signal.SIGKILL)
        time.sleep(0.2)
    assert run.wait() == 0, run.logs()
    assert run.weights() == expected_weights()
