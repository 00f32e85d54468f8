"""Preferences: the loss that plain models give, what is learnt shows on new rows."""

import math
from functools import partial

import numpy as np
import pytest

FULL = {"full": {}}
LORA = {"lora": {"rank": 8}}


@pytest.fixture(scope="module")
def choosing(writing_of, cases):
    return writing_of(cases.write_preferences)


def run(bench, objective, method=FULL, **options):
    made = bench.run(method, objective=objective, **options)
    assert set(made.codes) == {0}, made.output
    return made


def scores(made):
    (told,) = made.events("evaluation")
    return {result["metric"]: result for result in told["results"]}


@pytest.fixture(scope="module", params=["DPO", "ORPO"])
def reference(request, choosing):
    made = run(choosing, request.param)
    made.objective = request.param
    return made


def plain(bench, forkserver, cases, pod, **result):
    """Likelihoods under the base and the tuned model, of validation and test rows."""
    base = {"base": str(bench.model), "prepared": str(pod / "prepared")}
    wanted = [base | more | {"part": part} for part in ("validation", "test")
              for more in ({}, result)]  # fmt: skip
    found = [
        bench.server.call(cases.plain_likelihoods, [forkserver.Child({}, arguments)])[0].value
        for arguments in wanted
    ]
    return [np.array(each) for each in found]


CHOSEN_LESS_REJECTED = np.array([1, -1])


def test_the_result_is_an_ordinary_model_and_its_loss_the_papers(
    choosing, reference, forkserver, cases
):
    pod = reference.folders[0]
    model = str(pod / "output" / "model")
    old, new, base, tuned = plain(choosing, forkserver, cases, pod, base=model)
    with np.load(pod / "output" / "report" / "likelihoods.npz") as kept:
        np.testing.assert_allclose(kept["base"][:, [0, 2, 1, 3]], base, rtol=1e-4)
        np.testing.assert_allclose(kept["tuned"][:, [0, 2, 1, 3]], tuned, rtol=1e-4)
        assert not np.allclose(base, tuned, rtol=1e-2)
    if reference.objective == "DPO":
        gains = (new - old)[:, :2] @ CHOSEN_LESS_REJECTED
        told = reference.events("metrics")[-1]["values"]["eval_loss"]
        assert told == pytest.approx(np.log1p(np.exp(-0.1 * gains)).mean(), rel=1e-4)


def test_an_adapter_starts_from_its_base_and_is_an_ordinary_one(choosing, forkserver, cases):
    made = run(
        choosing, "DPO", LORA, ranks=2, micro=4, zero=2,
        training={"beta": 0.5}, output={"artifacts": ["Adapter", "Merged"]},
    )  # fmt: skip
    assert made.curve()[1] == pytest.approx(math.log(2), abs=1e-5)
    pod = made.folders[0]
    output = pod / "output"
    for result in ({"adapter": str(output / "adapter")}, {"base": str(output / "merged")}):
        *_, tuned = plain(choosing, forkserver, cases, pod, **result)
        with np.load(output / "report" / "likelihoods.npz") as kept:
            np.testing.assert_allclose(kept["tuned"][:, [0, 2, 1, 3]], tuned, rtol=1e-4)


def test_odds_are_those_of_the_paper(choosing, forkserver, cases):
    """One step at a rate of nearly nothing: the loss told is the base's own."""
    training = {"maxSteps": 1, "learningRate": 1e-12, "beta": 0.7}
    made = run(choosing, "ORPO", training=training)
    (told,) = [event["values"]["eval_loss"] for event in made.events("metrics")]
    old, *_ = plain(choosing, forkserver, cases, made.folders[0])
    means = old[:, :2] / old[:, 2:]
    odds = means - np.log(1 - np.exp(means))
    wanted = -means[:, 0] + 0.7 * np.log1p(np.exp(-(odds @ CHOSEN_LESS_REJECTED)))
    assert told == pytest.approx(wanted.mean(), rel=1e-4)


@pytest.mark.parametrize("objective", ["DPO", "ORPO"])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_only_a_real_preference_is_learnt(writing_of, cases, objective, shuffled, seed):
    made = run(
        writing_of(partial(cases.write_preferences, shuffled=shuffled, seed=seed)), objective,
        training={"maxSteps": 100, "learningRate": 3e-3, "seed": 6 + seed},
    )  # fmt: skip
    name = "reward_accuracy" if objective == "DPO" else "preference_accuracy"
    assert scores(made)[name]["rows"] == 32
    tuned = float(scores(made)[name]["tuned"])
    assert tuned < 0.75 if shuffled else tuned > 0.9
