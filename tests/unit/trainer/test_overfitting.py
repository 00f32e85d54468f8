"""When training and validation loss have come apart."""

import pytest

from finetune_api.progress import SeriesPoint
from finetune_trainer.gang.overfitting import overfitting


def curve(losses: list[float], validations: dict[int, float]) -> list[SeriesPoint]:
    return [
        SeriesPoint(
            step=step, loss=str(loss),
            eval_loss=str(validations[step]) if step in validations else None,
        )
        for step, loss in enumerate(losses, 1)
    ]  # fmt: skip


def test_training_that_goes_on_to_fall_while_validation_rises_has_opened_a_gap() -> None:
    found = overfitting(curve([2, 1, 0.8, 0.6, 0.3, 0.1], {2: 1.4, 4: 0.9, 6: 1.5}))
    assert found is not None
    assert (found["bestStep"], found["openedAfterStep"]) == (4, 4)
    assert found["gapAtBest"] == pytest.approx(0.9 - 0.7)
    assert found["gapAtEnd"] == pytest.approx(1.5 - 0.2)


def test_losses_that_fall_or_rise_together_have_opened_none() -> None:
    falling = overfitting(curve([2, 1, 0.8, 0.6], {2: 1.4, 4: 0.9}))
    rising = overfitting(curve([1, 1, 3, 3], {2: 1.0, 4: 3.1}))
    assert falling is not None
    assert rising is not None
    assert (falling["bestStep"], falling["openedAfterStep"]) == (4, None)
    assert (rising["bestStep"], rising["openedAfterStep"]) == (2, None)


def test_one_validation_tells_nothing() -> None:
    assert overfitting(curve([2, 1], {2: 1.4})) is None
    assert overfitting([]) is None
