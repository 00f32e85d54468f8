"""A run that goes on from another run's checkpoint ends as that run did: to the bit with as many
ranks, within rounding with more or fewer."""

import pytest

METHODS = {"full": {"full": {}}, "lora": {"lora": {"rank": 4}}}
PLAN = {"checkpoint_every": 3}
STEP, LAST = 3, 6


class Runs:
    """Runs that were never stopped, each made once, and those that go on from their third step."""

    def __init__(self, bench):
        self.bench, self.whole = bench, {}

    def go_on(self, method, zero, ranks, then_ranks, **training):
        shape = {"zero": zero, "plan": PLAN, "training": {"maxSteps": LAST, **training}}
        key = f"{method} {zero} {ranks} {training}"
        if key not in self.whole:
            self.whole[key] = self.bench.run(METHODS[method], **shape, ranks=ranks, micro=2)
        whole = self.whole[key]
        assert set(whole.codes) == {0}, whole.output
        then = self.bench.run(
            METHODS[method], **shape, ranks=then_ranks, micro=2,
            checkpointing={"resumeFrom": whole.store(STEP)}, resume=f"a0000/step-{STEP:08d}/",
        )  # fmt: skip
        assert set(then.codes) == {0}, then.output
        assert list(then.curve()) == list(range(STEP + 1, LAST + 1))
        return whole, then


@pytest.fixture(scope="module")
def runs(bench):
    return Runs(bench)


def rest(run, value="loss"):
    """The curve after the step that was gone on from."""
    return {step: told for step, told in run.curve(value).items() if step > STEP}


@pytest.mark.parametrize(
    "zero", [3, *(pytest.param(z, marks=pytest.mark.matrix) for z in (None, 2))]
)
def test_with_as_many_ranks_it_goes_on_exactly(runs, zero):
    whole, then = runs.go_on("full", zero, 2, 2)
    for value in ("loss", "grad_norm", "learning_rate"):
        assert then.curve(value) == rest(whole, value)
    assert then.digest("model") == whole.digest("model")


CHANGES = [(2, 1), (1, 2), (4, 2), (2, 4)]
ALWAYS = {("full", 3, (2, 1))}


@pytest.mark.parametrize(
    ("method", "zero", "change"),
    [
        pytest.param(*cell, marks=[] if cell in ALWAYS else [pytest.mark.matrix])
        for method in METHODS for zero in (None, 0, 1, 2, 3) for change in CHANGES
        for cell in [(method, zero, change)]
    ],
    ids=str,
)  # fmt: skip
def test_another_number_of_ranks_goes_on_within_rounding(runs, method, zero, change):
    whole, then = runs.go_on(method, zero, *change)
    assert then.curve() == pytest.approx(rest(whole), abs=1e-5)
    assert then.curve("learning_rate") == pytest.approx(rest(whole, "learning_rate"))


@pytest.mark.matrix
@pytest.mark.parametrize("optimizer", ["Lion", "AdEMAMix", "RMSprop", "SGD"])
@pytest.mark.parametrize("zero", [2, 3])
def test_any_optimizer_can_be_cut_anew(runs, optimizer, zero):
    whole, then = runs.go_on("full", zero, 2, 4, optimizer=optimizer, learningRate=1e-4)
    assert then.curve() == pytest.approx(rest(whole), abs=1e-4)
