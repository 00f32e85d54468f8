"""A run that goes on from another run's checkpoint ends as that run would have."""

import pytest

METHOD = {"lora": {"rank": 4, "dropout": 0.1}}
SHAPE = {
    "ranks": 2, "micro": 2, "plan": {"checkpoint_every": 4},
    "training": {"maxSteps": 10, "dropout": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("zero", [2, pytest.param(None, marks=pytest.mark.matrix)])
def test_another_run_goes_on_exactly(bench, zero):
    whole = bench.run(METHOD, **SHAPE, zero=zero)
    assert whole.codes == [0, 0], whole.output
    first = bench.run(METHOD, **SHAPE, zero=zero, arguments=bench.at_step(5, "stop"))
    source = first.store_newest()
    then = bench.run(
        METHOD, **SHAPE, zero=zero, checkpointing={"resumeFrom": source},
        resume="a0000/step-00000006/",
    )  # fmt: skip
    assert then.codes == [0, 0], then.output
    assert list(then.curve()) == [7, 8, 9, 10]
    for value in ("loss", "grad_norm", "learning_rate"):
        expected = {s: v for s, v in whole.curve(value).items() if s > 6}
        assert then.curve(value) == expected
    assert then.digest("adapter") == whole.digest("adapter")
