"""Conditions, columns, sentences, events: to the character."""

from itertools import pairwise

import pytest
from builders import NOW, a_job, failure, pod, report, running, running_picture, seen, step

from builders import ended, prepare_child, prepared, preparing, train_child  # isort: skip

from finetune_api.exits import ExitClass
from finetune_api.status import ConditionType, FineTuneJobStatus
from finetune_operator.plan.freshness import hold_back
from finetune_operator.status import messages
from finetune_operator.status.conditions import Opinion, settle, timestamp
from finetune_operator.status.transitions import events

JOB = a_job()


def told(before: FineTuneJobStatus, after: FineTuneJobStatus) -> list[str]:
    return [event.reason for event in events(before, after)]


def test_the_transition_time_moves_with_the_status_and_with_nothing_else() -> None:
    kind = ConditionType.PODS_READY
    first = settle([], {kind: Opinion("False", "A", "x")}, generation=1, now=NOW)
    second = settle(first, {kind: Opinion("False", "B", "y")}, generation=2, now=NOW + 60)
    third = settle(second, {kind: Opinion("True", "B", "y")}, generation=2, now=NOW + 90)
    assert first[0].last_transition_time == second[0].last_transition_time == timestamp(NOW)
    assert second[0].observed_generation == 2
    assert third[0].last_transition_time == timestamp(NOW + 90)


def test_columns_of_a_training_job() -> None:
    picture = running_picture(
        JOB,
        checkpoint={"step": 1200, "uri": "s3://m/c/", "bytes": 3_328_599_655, "savedAt": "t"},
        evaluation=[
            {"metric": "accuracy", "base": "0.413", "tuned": "0.639", "interval": "", "rows": 500}
        ],
        attempts=[
            {"number": 1, "start": "x", "end": "y", "reason": "PodLost"},
            {"number": 2, "start": "z", "fromStep": 700},
        ],
        attempt=2,
    )
    display = step(JOB, prepared(JOB), picture).status.display
    assert display is not None
    assert display.to_wire() == {
        "status": "Training",
        "progress": "62% (1240/2000)",
        "loss": "1.043",
        "eta": "47m",
        "gpus": 2,
        "nodes": 2,
        "restarts": 1,
        "model": "bert-tiny",
        "method": "LoRA",
        "eval": "41.3% -> 63.9%",
        "checkpoint": "step 1200",
        "reason": "Progressing",
    }


def test_columns_of_a_job_that_cannot_be_read() -> None:
    display = step(None, FineTuneJobStatus(), seen(), problems=("no",)).status.display
    assert display is not None
    assert (display.status, display.reason, display.progress) == ("Invalid", "Invalid", "-")


@pytest.mark.parametrize(
    ("stage", "word"),
    [
        ("waiting", "Starting"),
        ("sync", "Syncing"),
        ("baseline", "Evaluating"),
        ("train", "Training"),
        ("evaluate", "Evaluating"),
        ("export", "Exporting"),
        ("report", "Exporting"),
    ],
)
def test_word_of_each_stage(stage: str, word: str) -> None:
    display = step(JOB, prepared(JOB), running_picture(JOB, stage=stage)).status.display
    assert display is not None
    assert display.status == word


def test_a_gang_that_syncs_for_a_second_attempt_is_restarting() -> None:
    attempts = [{"number": 1, "start": "x", "end": "y", "reason": "PodLost"}]
    picture = running_picture(JOB, stage="sync", attempts=attempts)
    display = step(JOB, running(JOB), picture).status.display
    assert display is not None
    assert display.status == "Restarting"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (45, "45s"), (89, "89s"), (2812, "47m"), (4740, "1h19m"), (200_000, "2d7h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert messages.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("1.0432", "1.043"), ("nan", "nan"), ("inf", "inf"), ("0.00004", "4.00e-05"), ("0", "0.000")],
)
def test_losses(text: str, shown: str) -> None:
    assert messages.number(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("0.639", "63.9%"), ("1", "100.0%"), ("12.5", "12.5"), ("nan", "nan")]
)
def test_scores(text: str, shown: str) -> None:
    assert messages.score(text) == shown


def test_sizes() -> None:
    assert [messages.size(n) for n in (12, 2048, 3_328_599_655)] == ["12 B", "2.0 KiB", "3.1 GiB"]


def test_events_of_a_run_each_once_and_in_order() -> None:
    stages = [FineTuneJobStatus(), preparing(JOB), prepared(JOB), running(JOB)]
    told_so_far = [told(a, b) for a, b in pairwise(stages)]
    assert told_so_far == [["PrepareStarted"], ["DataReady"], ["GangStarted", "TrainingStarted"]]


def test_a_step_tells_nothing() -> None:
    before = running(JOB)
    after = step(JOB, before, running_picture(JOB, step=1300), now=NOW + 60).status
    assert after != before
    assert told(before, after) == []


def test_only_the_first_checkpoint_is_told() -> None:
    def saved(step: int) -> dict[str, object]:
        return {"step": step, "uri": "s3://m/c/", "bytes": 1, "savedAt": "t"}

    first = step(JOB, running(JOB), running_picture(JOB, checkpoint=saved(200))).status
    second = step(JOB, first, running_picture(JOB, checkpoint=saved(400)), now=NOW + 60).status
    assert told(running(JOB), first) == ["CheckpointSaved"]
    assert second.checkpoint is not None
    assert second.checkpoint.step == 400
    assert told(first, second) == []


def test_a_lost_pod_and_the_next_attempt_are_told() -> None:
    before = running(JOB)
    picture = seen(train=train_child(JOB), has_service=True, train_pods=(pod(0),))
    lost = step(JOB, before, picture).status
    attempts = [
        {"number": 1, "start": "x", "end": "y", "reason": "PodLost"},
        {"number": 2, "start": "z", "fromStep": 700},
    ]
    again = step(JOB, lost, running_picture(JOB, attempt=2, attempts=attempts)).status
    assert told(before, lost) == ["PodLost"]
    assert told(lost, again) == ["GangComplete", "Resumed"]
    sentence = events(lost, again)[1].message
    assert sentence == "attempt 2 resumed at step 700 of 2000 (PodLost spends no retry)"


def test_a_failure_is_told_once_in_the_words_of_the_status() -> None:
    text = failure(ExitClass.DATA_ERROR, "row 7 has no label", "remove it")
    child = prepare_child(JOB, is_failed=True, finished_at=NOW)
    pods = (ended(code=41, text=text),)
    before = preparing(JOB)
    after = step(JOB, before, seen(prepare=child, prepare_pods=pods)).status
    (event,) = events(before, after)
    assert (event.type, event.reason) == ("Warning", "Failed")
    assert event.message == "row 7 has no label; remove it; then delete this job and apply it again"


def test_what_was_forgotten_stands_beside_what_was_learnt() -> None:
    rows = {"base": "8.1", "tuned": "9.3", "interval": "+0.9 to +1.4", "rows": 200}
    learnt = {"metric": "accuracy", "base": "0.413", "tuned": "0.639", "interval": "", "rows": 500}
    told = {"evaluation": [learnt], "forgetting": [{"metric": "perplexity", **rows}]}
    before = running(JOB, stage="evaluate", evaluation=[learnt])
    status = step(JOB, before, running_picture(JOB, stage="evaluate", **told)).status
    assert [one.to_wire() for one in status.forgetting] == told["forgetting"]
    (condition,) = (c for c in status.conditions if c.type == ConditionType.EVALUATED)
    assert condition.message == (
        "accuracy 41.3% -> 63.9% on 500 rows; of the general set: perplexity 8.1 -> 9.3 on 200 rows"
    )
    assert status.display is not None
    assert status.display.eval == "41.3% -> 63.9%"
    options = {"refreshed_at": NOW - 10, "interval": 30.0, "now": NOW}
    assert hold_back(before, status, **options) == (status, None)


def test_numbers_wait_for_their_interval_and_states_do_not() -> None:
    before = running(JOB)
    numbers = step(JOB, before, running_picture(JOB, step=1300)).status
    state = step(JOB, before, running_picture(JOB, stage="evaluate")).status
    options = {"refreshed_at": NOW - 10, "interval": 30.0, "now": NOW}
    assert hold_back(before, numbers, **options) == (before, 20.0)
    assert hold_back(before, numbers, **{**options, "now": NOW + 20}) == (numbers, None)
    assert hold_back(before, state, **options) == (state, None)


def test_a_report_that_leaves_things_out_does_not_erase_them() -> None:
    before = running(JOB)
    condensed = report(stage="evaluate", step=0, totalSteps=0, metrics=[], attempts=[], epoch="0")
    picture = running_picture(JOB).__class__(
        **{**vars(running_picture(JOB)), "progress": condensed}
    )
    after = step(JOB, before, picture).status
    assert after.progress is not None
    assert after.progress.step == 1240
    assert after.progress.metrics == before.progress.metrics  # type: ignore[union-attr]
    assert after.attempts == before.attempts
