"""Training ends where validation no longer improves, with the weights that validated best."""

import json
import random

import pytest

PATIENCE, EVERY = 2, 4
TRAINING = {
    "maxSteps": 60, "learningRate": 3e-3, "scheduler": "Constant", "warmupRatio": 0.0,
    "earlyStopping": {"patience": PATIENCE},
}  # fmt: skip
LAYOUTS = [(1, None), (2, 3), pytest.param(2, None, marks=pytest.mark.matrix),
           pytest.param(2, 2, marks=pytest.mark.matrix)]  # fmt: skip


@pytest.fixture(scope="module")
def senseless(bench_of):
    """Rows whose classes were drawn: what is learnt of them cannot hold elsewhere."""
    bench = bench_of()
    rows = [json.loads(line) for line in bench.rows.read_text().splitlines()]
    labels = [row["label"] for row in rows]
    random.Random(3).shuffle(labels)
    lines = [json.dumps({**row, "label": label}) for row, label in zip(rows, labels, strict=True)]
    bench.rows.write_text("\n".join(lines) + "\n")
    return bench


def run(bench, *, ranks=1, zero=None, training=TRAINING, every=EVERY, **options):
    made = bench.run(
        {"full": {}}, ranks=ranks, micro=8 // ranks, zero=zero, training=training,
        plan={"checkpoint_every": every}, dataset={"validation": {"fraction": 0.3}}, **options,
    )  # fmt: skip
    assert set(made.codes) == ({50} if options.get("arguments") else {0}), made.output
    return made


def validations(made):
    return {e["step"]: e["values"]["eval_loss"] for e in made.events("metrics")
            if "eval_loss" in e["values"]}  # fmt: skip


@pytest.mark.parametrize(("ranks", "zero"), LAYOUTS)
def test_it_stops_goes_back_and_so_does_a_resumed_run(senseless, ranks, zero):
    whole = run(senseless, ranks=ranks, zero=zero)
    losses = validations(whole)
    best = min(losses, key=losses.get)
    assert max(losses) == best + PATIENCE * EVERY < TRAINING["maxSteps"]
    assert whole.events("best") == [
        {"type": "best", "step": best, "loss": pytest.approx(losses[best])}
    ]
    short = TRAINING | {"maxSteps": best, "earlyStopping": {"patience": 0}}
    assert run(senseless, ranks=ranks, zero=zero, training=short).digest("model") == whole.digest(
        "model"
    )

    after = best + EVERY
    stopped = run(senseless, ranks=ranks, zero=zero, arguments=asked_to_leave_at(after))
    resumed = run(senseless, ranks=ranks, zero=zero, resume=stopped)
    assert resumed.events("best") == whole.events("best")
    assert resumed.digest("model") == whole.digest("model")
    ended = run(senseless, ranks=ranks, zero=zero, resume=whole)
    assert ended.curve() == {}
    assert ended.digest("model") == whole.digest("model")


@pytest.mark.parametrize(
    ("ranks", "zero"), [(1, None), pytest.param(2, 3, marks=pytest.mark.matrix)]
)
def test_a_validation_that_a_stop_cut_off_is_made_up_for(senseless, ranks, zero):
    whole = run(senseless, ranks=ranks, zero=zero)
    last = max(validations(whole))
    stopped = run(senseless, ranks=ranks, zero=zero, arguments=asked_to_leave_at(last - 1))
    assert max(stopped.curve()) == last
    assert max(validations(stopped)) == last - EVERY
    resumed = run(senseless, ranks=ranks, zero=zero, resume=stopped)
    assert resumed.curve() == {}
    assert validations(resumed) == {last: validations(whole)[last]}
    assert resumed.events("best") == whole.events("best")
    assert resumed.digest("model") == whole.digest("model")


def asked_to_leave_at(step):
    def arguments(rank, folder):
        request = folder / "control" / "stop"
        trouble = {"step": step, "touch": str(request), "done": str(folder / "done"), "content": ""}
        return {} if rank else {"trouble": trouble}

    return arguments


def test_the_last_weights_are_kept_where_that_is_asked_for(senseless):
    last = TRAINING | {"earlyStopping": {"patience": 0, "restoreBest": False}, "maxSteps": 24}
    kept = run(senseless, training=last)
    assert list(kept.curve())[-1] == 24
    assert kept.events("best") == []
    best = TRAINING | {"earlyStopping": {"patience": 0}, "maxSteps": 24}
    assert run(senseless, training=best).digest("model") != kept.digest("model")


def test_an_improvement_below_the_asked_one_is_none(bench):
    strict = TRAINING | {"earlyStopping": {"patience": 1, "minImprovement": 10}}
    assert list(run(bench, training=strict).curve())[-1] == 2 * EVERY
