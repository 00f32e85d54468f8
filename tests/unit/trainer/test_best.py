"""What counts as the best validation, and when waiting for a better one ends."""

import math

from finetune_trainer.best import Best


def after(*losses: float, least: float = 0.0) -> Best:
    best = Best()
    for number, loss in enumerate(losses, 1):
        best.observe(10 * number, loss, least)
    return best


def test_the_lowest_loss_is_the_best_and_an_equal_one_is_no_better():
    assert after(0.5, 0.3, 0.3, 0.4) == Best(step=20, loss=0.3, waited=2, last=40)


def test_a_loss_that_is_no_number_is_never_the_best():
    assert after(math.nan, math.inf) == Best(step=0, loss=math.inf, waited=2, last=20)
    assert after(math.nan, 0.7).step == 20


def test_a_gain_below_the_least_one_is_none_but_the_first_loss_counts():
    assert after(9.0, 8.95, 8.8, least=0.1) == Best(step=30, loss=8.8, waited=0, last=30)


def test_patience_is_counted_in_validations_and_0_never_ends():
    assert [after(0.5, *[0.6] * n).exhausted(2) for n in range(4)] == [False, False, True, True]
    assert not after(0.5, *[0.6] * 50).exhausted(0)
