"""What a run tells of itself stays within its limits and tells the truth."""

import json
import math
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.exits import TERMINATION_LIMIT, ExitClass, Failure
from finetune_api.progress import (
    Attempt,
    EvaluationResult,
    MetricValue,
    ProgressReport,
    SeriesPoint,
    Stage,
)
from finetune_trainer.gang.state import POINTS, RunState, termination_message, thinned


def metrics(step: int, **values: Any) -> dict[str, Any]:
    """An event."""
    return {"step": step, "totalSteps": 5000, "epoch": 0.5, "values": values}


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    state = RunState(pods=1, world_size=1)
    for step in range(1, 5001):
        values = {"loss": 1 / step} | ({"eval_loss": 0.5} if step % 500 == 0 else {})
        state.on_metrics(metrics(step, **values))
    report = state.report()
    steps = [p.step for p in report.series]
    assert len(steps) <= POINTS
    assert (steps[0], steps[-1]) == (1, 5000)
    assert steps == sorted(steps)
    assert sum(p.eval_loss is not None for p in report.series) == 10
    assert len(report.model_dump_json()) < 64 * 1024
    assert max(b - a for a, b in pairwise(steps)) < 60


def test_going_back_forgets_the_steps_that_come_again() -> None:
    state = RunState(pods=1, world_size=1)
    for step in range(1, 11):
        state.on_metrics(metrics(step, loss=1.0))
    state.restore(6, [])
    assert [p.step for p in state.report().series] == [1, 2, 3, 4, 5, 6]
    assert state.report().step == 6


def test_a_new_index_0_takes_the_curve_from_the_manifest() -> None:
    state = RunState(pods=1, world_size=1)
    state.restore(
        2, [{"step": 1, "loss": "1"}, {"step": 2, "loss": "0.5"}, {"step": 3, "loss": "9"}]
    )
    assert [p.step for p in state.report().series] == [1, 2]


def test_nan_is_told_as_text() -> None:
    state = RunState(pods=1, world_size=1)
    state.on_metrics(metrics(1, loss="nan", grad_norm=math.inf))
    document = json.loads(state.report().model_dump_json(by_alias=True))
    assert {m["name"]: m["value"] for m in document["metrics"]} == {
        "loss": "nan",
        "grad_norm": "inf",
    }


@given(st.sets(st.integers(1, 10**6), max_size=600), st.integers(10, 200))
def test_thinning_keeps_the_limit_and_the_last_point(steps: set[int], limit: int) -> None:
    points = [
        SeriesPoint(step=s, loss="1", eval_loss="1" if s % 7 == 0 else None) for s in sorted(steps)
    ]
    kept = thinned(points, limit)
    assert len(kept) <= limit
    assert kept[-1:] == points[-1:]


text = st.text(max_size=1500)


@settings(max_examples=60)
@given(st.lists(text, max_size=10), text, text, st.integers(0, 32))
def test_the_last_words_always_fit_and_keep_the_failure(
    messages: list[str], failure: str, remedy: str, count: int
) -> None:
    report = ProgressReport(
        stage=Stage.TRAIN,
        metrics=[MetricValue(name="m" * 60, value="1" * 30)] * count,
        attempts=[
            Attempt(number=i + 1, start="x", reason=ExitClass.RANK_FAILED, message=m[:500])
            for i, m in enumerate(messages)
        ],
        evaluation=[
            EvaluationResult(metric="m" * 60, base="1", tuned="2", interval="i" * 60, rows=1)
        ] * count,
        forgetting=[
            EvaluationResult(metric="f" * 60, base="1", tuned="2", interval="i" * 60, rows=1)
        ] * count,
        failure=Failure(
            exit_class=ExitClass.RETRIES_EXHAUSTED, message=failure, remedy=remedy[:500]
        ),
    )  # fmt: skip
    told = termination_message(report)
    assert len(told.encode()) <= TERMINATION_LIMIT
    again = ProgressReport.read(json.loads(told))
    assert again.failure is not None
    assert again.failure.message == failure[: len(again.failure.message)]
    assert len(again.failure.message) >= min(len(failure), 100)
