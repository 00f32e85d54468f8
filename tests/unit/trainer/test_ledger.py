"""The retry budget, the bound on free restarts, and who pays for what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.exits import ExitClass
from finetune_trainer.gang.ledger import FREE_RESTARTS, Ledger

Documents = dict[str, dict[str, Any]]


def ledger(*attempts: tuple[str | None, int, int]) -> Ledger:
    """From (class or None, fromStep, toStep), 10 s each."""
    documents: Documents = {}
    for number, (reason, begin, end) in enumerate(attempts, 1):
        documents[f"{number:04d}.json"] = {"start": "2026-01-01T00:00:00Z", "fromStep": begin}
        if reason is not None:
            documents[f"{number:04d}.end.json"] = {
                "class": reason, "toStep": end, "seconds": 10, "message": f"m{number}",
            }  # fmt: skip
    return Ledger.of(documents)


def test_a_failure_below_the_budget_may_be_tried_again() -> None:
    assert ledger(("RankFailed", 0, 5), ("RankFailed", 0, 7)).verdict(3, 0) is None


def test_the_budget_ends_with_the_last_failure() -> None:
    failure = ledger(("RankFailed", 0, 5), ("HardwareFault", 0, 7)).verdict(2, 4)
    assert failure is not None
    assert failure.exit_class is ExitClass.RETRIES_EXHAUSTED
    assert failure.code == 44
    assert "m2" in failure.message
    assert failure.checkpoint_step == 4


@given(st.lists(st.sampled_from(["Preempted", "PodLost"]), max_size=30), st.integers(1, 4))
def test_free_classes_never_spend_the_budget(reasons: list[str], budget: int) -> None:
    steps = [(reason, i * 10, i * 10 + 5) for i, reason in enumerate(reasons)]
    assert ledger(*steps).verdict(budget, len(reasons) * 10) is None


@pytest.mark.parametrize("reason", ["Preempted", "PodLost"])
def test_free_restarts_without_a_new_durable_step_are_bounded(reason: str) -> None:
    stuck = [(reason, 8, 11)] * FREE_RESTARTS
    failure = ledger(*stuck).verdict(4, 8)
    assert failure is not None
    assert failure.code == 46
    assert ledger(*stuck[1:]).verdict(4, 8) is None
    assert ledger(*stuck).verdict(4, 9) is None  # a new durable step starts the count anew


def test_a_failure_in_between_starts_the_count_anew() -> None:
    mixed = [("PodLost", 8, 11)] * 4 + [("RankFailed", 8, 9)] + [("PodLost", 8, 11)] * 4
    assert ledger(*mixed).verdict(4, 8) is None


def test_repeated_steps_are_wasted_and_the_rest_is_not() -> None:
    accounting = ledger(
        ("RankFailed", 0, 10), ("Preempted", 5, 15), ("Completed", 15, 20)
    ).accounting(2)
    assert accounting.gpu_seconds == 60
    assert accounting.wasted_gpu_seconds == 10  # half of the first attempt, on two ranks


def test_an_attempt_without_an_end_is_shown_as_running() -> None:
    (shown,) = ledger((None, 3, 0)).tail()
    assert (shown.from_step, shown.end, shown.reason) == (3, None, None)
    assert Ledger.of({"junk.json": {}, "0001.end.json": {"class": "PodLost"}}).last == 0
