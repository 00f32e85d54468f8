"""A run that goes on from another run's checkpoint ends as that run did: to the bit with as many
ranks, within rounding with more or fewer."""

import pytest

METHODS = {"full": {"full": {}}, "lora": {"lora": {"rank": 4}}}
PLAN = {"checkpoint_every": 4}
STEP, LAST = 4, 8


def go_on(bench, method, zero, ranks, then_ranks, **training):
    """The run that was never stopped, and the one that goes on from its fourth step."""
    shape = {"zero": zero, "plan": PLAN, "training": {"maxSteps": LAST, **training}}
    whole = bench.run(METHODS[method], **shape, ranks=ranks, micro=2)
    assert set(whole.codes) == {0}, whole.output
    then = bench.run(
        METHODS[method], **shape, ranks=then_ranks, micro=2,
        checkpointing={"resumeFrom": whole.store(STEP)}, resume=f"a0000/step-{STEP:08d}/",
    )  # fmt: skip
    assert set(then.codes) == {0}, then.output
    assert list(then.curve()) == list(range(STEP + 1, LAST + 1))
    return whole, then


@pytest.mark.parametrize("zero", [2, pytest.param(None, marks=pytest.mark.matrix)])
def test_with_as_many_ranks_it_goes_on_exactly(bench, zero):
    whole, then = go_on(bench, "lora", zero, 2, 2, dropout=0.1)
    for value in ("loss", "grad_norm", "learning_rate"):
        expected = {step: told for step, told in whole.curve(value).items() if step > STEP}
        assert then.curve(value) == expected
    assert then.digest("adapter") == whole.digest("adapter")


CHANGES = [(2, 1), (1, 2), (4, 2), (2, 4)]
ALWAYS = {("full", 3, (2, 1)), ("lora", 2, (1, 2))}


@pytest.mark.parametrize(
    ("method", "zero", "change"),
    [
        pytest.param(*cell, marks=[] if cell in ALWAYS else [pytest.mark.matrix])
        for method in METHODS for zero in (None, 0, 1, 2, 3) for change in CHANGES
        for cell in [(method, zero, change)]
    ],
    ids=str,
)  # fmt: skip
def test_another_number_of_ranks_goes_on_within_rounding(bench, method, zero, change):
    whole, then = go_on(bench, method, zero, *change)
    expected = {step: loss for step, loss in whole.curve().items() if step > STEP}
    assert then.curve() == pytest.approx(expected, abs=1e-3)
    assert then.curve("learning_rate") == pytest.approx(
        {step: rate for step, rate in whole.curve("learning_rate").items() if step > STEP}
    )


@pytest.mark.matrix
@pytest.mark.parametrize("optimizer", ["Lion", "AdEMAMix", "RMSprop", "SGD"])
@pytest.mark.parametrize("zero", [2, 3])
def test_any_optimizer_can_be_cut_anew(bench, optimizer, zero):
    whole, then = go_on(bench, "full", zero, 2, 4, optimizer=optimizer, learningRate=1e-4)
    expected = {step: loss for step, loss in whole.curve().items() if step > STEP}
    assert then.curve() == pytest.approx(expected, abs=1e-3)
