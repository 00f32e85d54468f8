"""Plans after a shortage of memory: the same global batch by smaller steps, until none is left."""

from typing import Any

import pytest

from finetune_trainer.gang.smaller import shrunk, smaller

WHOLE = {"microBatch": 6, "accumulation": 2, "checkpointable": True, "reasons": ["first"]}


def ladder(plan: dict[str, Any]) -> list[tuple[int, int, bool]]:
    """Every smaller plan in turn: micro-batch, accumulation, checkpointing."""
    steps = []
    made: dict[str, Any] | None = plan
    while (made := smaller(made)) is not None:
        steps.append((made["microBatch"], made["accumulation"],
                      made.get("gradientCheckpointing", False)))  # fmt: skip
    return steps


def test_rows_of_a_rank_stay_and_checkpointing_comes_last() -> None:
    assert ladder(WHOLE) == [(3, 4, False), (1, 12, False), (1, 12, True)]


@pytest.mark.parametrize("change", [{"checkpointable": False}, {"gradientCheckpointing": True}])
def test_what_cannot_checkpoint_or_does_so_already_ends_at_one_row(change: dict[str, Any]) -> None:
    assert [step[:2] for step in ladder(WHOLE | change)] == [(3, 4), (1, 12)]


def test_any_size_ends_at_one_row() -> None:
    for micro in range(2, 65):
        *_, last = ladder({"microBatch": micro, "accumulation": 3})
        assert last[:2] == (1, 3 * micro)


def test_each_change_is_told_and_counted() -> None:
    made = shrunk(WHOLE, 2)
    assert made["reasons"] == [
        "first", "microBatch 3: memory ran out with 6", "microBatch 1: memory ran out with 3",
    ]  # fmt: skip
    assert made["shrunk"] == 2
    assert shrunk(made, 2) == made


def test_a_plan_that_cannot_follow_is_the_smallest() -> None:
    made = shrunk({"microBatch": 2, "accumulation": 1}, 5)
    assert (made["microBatch"], made["accumulation"], made["shrunk"]) == (1, 2, 5)
