"""A stopped and resumed run ends with exactly the weights of one that was never stopped."""

import pytest

METHODS = {"full": {"full": {}}, "lora": {"lora": {"rank": 4, "dropout": 0.1}}}
STAGES = [None, 0, 1, 2, 3]
RARE = {("full", 0), ("full", 1), *(("lora", zero) for zero in (None, 0, 1, 3))}
"""Left to the matrix: what they do is done by the others as well."""
SETTINGS = [
    pytest.param("bench", name, zero, marks=[pytest.mark.matrix] if (name, zero) in RARE else [])
    for name in METHODS
    for zero in STAGES
]
SETTINGS += [pytest.param("writing", "lora", 2, marks=pytest.mark.matrix), ("writing", "full", 3)]
TRAINING = {"maxSteps": 14, "dropout": 0.2}
PLAN = {"checkpoint_every": 5}


@pytest.mark.parametrize(("on", "name", "zero"), SETTINGS, ids=lambda v: str(v))
def test_bit_identical(request, on, name, zero):
    bench, method = request.getfixturevalue(on), METHODS[name]
    shape = {"ranks": 2, "micro": 2, "zero": zero, "training": TRAINING, "plan": PLAN}
    whole = bench.run(method, **shape)
    assert whole.codes == [0, 0], whole.output
    stopped = bench.run(method, **shape, arguments=bench.at_step(6, "stop"))
    assert stopped.codes == [50, 50], stopped.output
    assert [e["step"] for rank in (0, 1) for e in stopped.events("preempted", rank)] == [7, 7]
    for rank in (0, 1):
        assert [e["step"] for e in stopped.events("checkpoint", rank)] == [5, 7]
    resumed = bench.run(method, **shape, resume=stopped)
    assert resumed.codes == [0, 0], resumed.output
    assert list(resumed.curve()) == list(range(8, 15))
    for value in ("loss", "grad_norm", "learning_rate"):
        expected = {s: v for s, v in whole.curve(value).items() if s > 7}
        assert resumed.curve(value) == expected
    exported = "model" if name == "full" else "adapter"
    assert resumed.digest(exported) == whole.digest(exported)
    if zero is None:
        other = bench.run(method, **shape | {"training": TRAINING | {"seed": 8}})
        assert other.digest(exported) != whole.digest(exported)


@pytest.mark.parametrize(
    "zero",
    [2, pytest.param(None, marks=pytest.mark.matrix), pytest.param(3, marks=pytest.mark.matrix)],
)
def test_resume_from_the_last_step_only_evaluates(bench, zero):
    method = {"lora": {"rank": 4}}
    shape = {"ranks": 2, "micro": 4, "zero": zero, "training": {"maxSteps": 4}}
    whole = bench.run(method, **shape)
    again = bench.run(method, **shape, resume=whole)
    assert again.codes == [0, 0], again.output
    assert again.curve() == {}
    assert again.digest("adapter") == whole.digest("adapter")
    assert again.events("evaluation") == whole.events("evaluation")


@pytest.mark.parametrize(
    "zero", [2, *(pytest.param(z, marks=pytest.mark.matrix) for z in (None, 3))]
)
def test_a_smaller_plan_goes_on_with_the_same_curve(bench, zero):
    """What follows when memory runs out in the middle of an epoch."""
    training = {"maxSteps": 8, "earlyStopping": {"patience": 0}}
    shape = {"ranks": 2, "zero": zero, "training": training, "plan": PLAN}
    whole = bench.run(METHODS["full"], **shape, micro=4)
    stopped = bench.run(METHODS["full"], **shape, micro=4, arguments=bench.at_step(2, "stop"))
    assert stopped.codes == [50, 50], stopped.output
    less = shape | {"plan": PLAN | {"gradient_checkpointing": True}}
    resumed = bench.run(METHODS["full"], **less, micro=1, resume=stopped)
    assert resumed.codes == [0, 0], resumed.output
    assert list(resumed.curve()) == [4, 5, 6, 7, 8]
    for value in ("loss", "grad_norm", "learning_rate"):
        expected = {s: v for s, v in whole.curve(value).items() if s > 3}
        assert resumed.curve(value) == pytest.approx(expected, rel=1e-5), value


@pytest.mark.parametrize("zero", [2, pytest.param(None, marks=pytest.mark.matrix)])
def test_a_resumed_run_takes_the_learning_rate_of_its_plan(bench, zero):
    training = {"maxSteps": 8, "earlyStopping": {"patience": 0, "restoreBest": False}}
    shape = {"ranks": 2, "micro": 4, "zero": zero, "training": training}
    whole = bench.run({"full": {}}, **shape, plan={"checkpoint_every": 4})
    stopped = bench.run({"full": {}}, **shape, arguments=bench.at_step(4, "stop"))
    half = {"learning_rate": whole.curve("learning_rate")[1] / 2}
    slower = bench.run({"full": {}}, **shape, plan=half, resume=stopped)
    assert slower.codes == [0, 0], slower.output
    full_rate, rates = whole.curve("learning_rate"), slower.curve("learning_rate")
    assert list(rates) == [6, 7, 8]
    assert rates == pytest.approx({step: full_rate[step] / 2 for step in rates})
    assert slower.digest("model") != whole.digest("model")


def test_save_on_demand_is_obeyed_once(bench):
    run = bench.run(
        {"lora": {"rank": 4}}, ranks=2, micro=4, plan={"checkpoint_every": 6},
        arguments=bench.at_step(1, "save", "request-1"),
    )  # fmt: skip
    assert run.codes == [0, 0], run.output
    assert [e["step"] for e in run.events("checkpoint")] == [2, 6]
    assert [e["step"] for e in run.events("checkpoint", 1)] == [2, 6]


@pytest.mark.parametrize("waits", [False, pytest.param(True, marks=pytest.mark.matrix)])
def test_checkpoints_by_time_change_nothing_and_wait_for_the_upload_before(bench, waits):
    def on_its_way(rank, folder):
        (folder / "uploading" / "step-00000001").mkdir(parents=True)
        return {}

    shape = {"ranks": 2, "micro": 4, "arguments": on_its_way if waits else None}
    plan = {"checkpoint_every": 4, "checkpoint_seconds": 1e-6}
    run = bench.run({"lora": {"rank": 4}}, **shape, plan=plan)
    assert run.codes == [0, 0], run.output
    saved = [4, 6] if waits else [1, 2, 3, 4, 5, 6]
    for rank in (0, 1):
        assert [e["step"] for e in run.events("checkpoint", rank)] == saved
    validated = [e["step"] for e in run.events("metrics") if "eval_loss" in e["values"]]
    assert validated == [4, 6]


def test_stop_before_training_leaves_free(bench):
    run = bench.run({"lora": {"rank": 4}}, ranks=2, micro=4, arguments=bench.at_step(0, "stop"))
    assert run.codes == [50, 50], run.output
    assert run.events("checkpoint") == []


def test_loss_that_is_no_number_ends_the_run_unsaved(bench):
    run = bench.run(
        {"full": {}}, ranks=2, micro=4, plan={"checkpoint_every": 2},
        arguments=lambda rank, folder: {"trouble": {"nan_at": 4}},
    )  # fmt: skip
    assert run.codes == [43, 43], run.output
    assert [e["step"] for e in run.events("checkpoint")] == [2]
    (failed,) = run.events("failed")
    assert failed["class"] == "NonFinite"
    assert "step 4" in failed["message"]
    assert run.events("metrics")[-1]["values"]["loss"] == "nan"
