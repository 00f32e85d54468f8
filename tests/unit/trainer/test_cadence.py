"""How often a checkpoint is saved by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.cadence import LEAST, MOST, checkpoint_seconds

MB, GB = 10**6, 10**9


def chosen(saved: int, pods: int = 1, **asked: object) -> tuple[float | None, list[str]]:
    told: list[str] = []
    options = {"minutes": None, "by_steps": False, **asked}
    seconds = checkpoint_seconds(saved, pods=pods, upload_rate=50 * MB, tell=told.append, **options)  # type: ignore[arg-type]
    return seconds, told


@given(st.integers(0, 1000 * GB), st.integers(1, 512))
def test_it_costs_little_beside_what_a_loss_would(saved: int, pods: int) -> None:
    seconds, (reason,) = chosen(saved, pods)
    assert seconds is not None
    assert LEAST <= seconds <= max(MOST, saved / pods / (50 * MB)) + 0.1
    assert len(reason) <= 200
    # Twice the cost of a save is at least four fifths of the least that any other time would cost.
    cost, life = 1 + saved / pods / (300 * MB), 24 * 3600 / pods

    def lost(interval: float) -> float:
        return cost / interval + interval / (2 * life)

    if LEAST < seconds < MOST and seconds > saved / pods / (50 * MB) + 0.1:
        assert lost(seconds) <= min(lost(seconds * 0.8), lost(seconds * 1.25))


@pytest.mark.parametrize(
    ("saved", "pods", "seconds"),
    [(0, 1, 415.7), (30 * GB, 1, 3600.0), (30 * GB, 8, 540.0), (400 * GB, 1, 8000.0)],
)
def test_small_states_are_saved_often_and_large_ones_seldom(
    saved: int, pods: int, seconds: float
) -> None:
    assert chosen(saved, pods)[0] == pytest.approx(seconds, rel=0.02)


def test_what_the_job_says_goes_first() -> None:
    assert chosen(30 * GB, minutes=7) == (420.0, [])
    assert chosen(30 * GB, by_steps=True) == (None, [])
