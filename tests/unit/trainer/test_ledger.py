"""The retry budget, the bound on free restarts, and who pays for what."""

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.exits import ExitClass
from finetune_trainer.gang.agent_client import StorageAgent
from finetune_trainer.gang.ledger import (
    FREE_RESTARTS,
    FencedError,
    Ledger,
    LedgerBook,
    Record,
    Trace,
)

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


def lost(**end: Any) -> tuple[LedgerBook, list[dict[str, Any]]]:
    """A book whose newest attempt was not ended by its own index 0, and what it writes."""
    written: list[dict[str, Any]] = []

    class Agent:
        async def insist(self, operation: str, **arguments: Any) -> Any:
            if operation == "list":
                return ["0001.json"]
            written.append(arguments["document"])
            return True

    book = LedgerBook(cast("StorageAgent", Agent()), "attempts/")
    documents: Documents = {
        "0001.json": {"start": "2026-01-01T00:00:00Z", "fromStep": 4, "pods": ["first", "second"]}
    }
    if end:
        documents["0001.end.json"] = end
    book.ledger = Ledger.of(documents)
    return book, written


def test_a_lost_attempt_ends_at_its_last_sign_of_life() -> None:
    book, written = lost()
    asyncio.run(book.end_orphan([]))
    asyncio.run(book.end_orphan([Trace(1, 30, 12), Trace(1, 41, 9), Trace(0, 99, 99)]))
    asyncio.run(book.end_orphan([Trace(1, 20, 10)]))
    assert [(end["seconds"], end["toStep"], end["end"]) for end in written] == [
        (0, 4, "2026-01-01T00:00:00Z"),
        (41, 12, "2026-01-01T00:00:41Z"),
    ]
    assert {(end["class"], end["pod"]) for end in written} == {("PodLost", "first")}


def test_a_checkpoint_is_a_sign_of_life() -> None:
    record = Record(2, "2026-01-01T00:00:00Z", 0)
    assert Trace.of_checkpoint(record, 8, "2026-01-01T00:01:30Z") == Trace(2, 90, 8)
    assert Trace.of_checkpoint(record, 8, "") is None


def test_an_attempt_that_its_own_index_0_ended_stays_as_it_is() -> None:
    end = {"class": "RankFailed", "toStep": 9, "seconds": 5, "message": "m"}
    book, written = lost(**end)
    asyncio.run(book.end_orphan([Trace(1, 50, 20)]))
    assert written == []


def test_who_finds_its_attempt_ended_was_replaced() -> None:
    book, _ = lost()

    async def refuse(operation: str, **arguments: Any) -> Any:
        return ["0001.json"] if operation == "list" else not arguments["if_absent"]

    book._agent.insist = refuse  # type: ignore[method-assign]
    with pytest.raises(FencedError, match="another index 0 has ended attempt 1"):
        asyncio.run(book.end(1, ExitClass.RANK_FAILED, message="", to_step=9, seconds=3))
    assert book.ledger.records[1].end is None
