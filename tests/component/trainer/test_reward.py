"""Reward models: the loss that plain models give, a probe as base, what is learnt."""

from functools import partial

import numpy as np
import pytest

FULL = {"full": {}}
LORA = {"lora": {"rank": 8}}
SMALL = {"learningRate": 2e-4}
"""Adam's first step takes the sign of a gradient: where it is rounding, a large step shows it."""


@pytest.fixture(scope="module")
def scoring(writing_of, cases):
    return writing_of(cases.write_preferences)


def run(bench, method=FULL, **options):
    made = bench.run(method, objective="Reward", **options)
    assert set(made.codes) == {0}, made.output
    return made


def accuracy(made):
    (told,) = made.events("evaluation")
    (result,) = told["results"]
    assert result["metric"] == "pairwise_accuracy"
    return float(result["base"]), float(result["tuned"]), result["rows"]


@pytest.fixture(scope="module")
def reference(scoring):
    return run(scoring, training=SMALL)


def plain(bench, forkserver, objectives, pod, part, **result):
    arguments = {"base": str(bench.model), "prepared": str(pod / "prepared"), "part": part}
    child = forkserver.Child({}, arguments | result)
    return np.array(bench.server.call(objectives.plain_rewards, [child])[0].value)


def test_the_result_is_an_ordinary_model_and_its_loss_the_papers(
    scoring, reference, forkserver, objectives
):
    pod = reference.folders[0]
    told = partial(plain, scoring, forkserver, objectives, pod)
    model = str(pod / "output" / "model")
    chosen, rejected = told("validation", base=model).T
    wanted = np.log1p(np.exp(rejected - chosen)).mean()
    assert reference.events("metrics")[-1]["values"]["eval_loss"] == pytest.approx(wanted, rel=1e-4)
    with np.load(pod / "output" / "report" / "rewards.npz") as kept:
        np.testing.assert_allclose(kept["tuned"], told("test", base=model), atol=1e-5)
        margins = kept["tuned"] @ [1, -1]
        base, tuned, rows = accuracy(reference)
        assert (base, tuned) == pytest.approx(
            [(kept["base_margins"] > 0).mean(), (margins > 0).mean()], abs=1e-4
        )
        assert rows == len(margins) == 32


def test_training_starts_from_the_probe(scoring, objectives, forkserver):
    """One step at a rate of nearly nothing: the tuned model is the probe, and is far from chance
    where the rows are in the training part."""
    made = run(scoring, {"headOnly": {}}, training={"maxSteps": 1, "learningRate": 1e-12})
    pod = made.folders[0]
    model = str(pod / "output" / "model")
    chosen, rejected = plain(scoring, forkserver, objectives, pod, "train", base=model).T
    assert (chosen > rejected).mean() > 0.7


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_probe_is_a_logistic_reward(server, forkserver, objectives, shuffled):
    (told,) = server.call(
        objectives.probe_of_rewards, [forkserver.Child({}, {"shuffled": shuffled})]
    )
    found = told.value
    assert found["found"] == pytest.approx(found["plain"], abs=0.02)
    assert found["found"] == pytest.approx(0.5, abs=0.05) if shuffled else found["found"] > 0.85


def test_an_adapter_is_an_ordinary_one(scoring, forkserver, objectives):
    made = run(scoring, LORA, ranks=2, micro=4, zero=2, output={"artifacts": ["Adapter", "Merged"]})
    pod = made.folders[0]
    output = pod / "output"
    for result in ({"adapter": str(output / "adapter")}, {"base": str(output / "merged")}):
        tuned = plain(scoring, forkserver, objectives, pod, "test", **result)
        with np.load(output / "report" / "rewards.npz") as kept:
            np.testing.assert_allclose(kept["tuned"], tuned, atol=1e-4)
    assert "pipeline_tag: text-classification" in (output / "adapter" / "README.md").read_text()


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_only_a_real_preference_is_learnt(writing_of, cases, shuffled, seed):
    """Chance is one half."""
    made = run(
        writing_of(partial(cases.write_preferences, shuffled=shuffled, seed=seed)),
        training={"maxSteps": 80, "learningRate": 3e-3, "seed": seed},
    )  # fmt: skip
    _, tuned, rows = accuracy(made)
    assert rows == 32
    assert tuned < 0.75 if shuffled else tuned > 0.9


@pytest.mark.parametrize(
    "kind", ["promptTuning", pytest.param("pTuning", marks=pytest.mark.matrix)]
)
def test_behind_virtual_tokens_a_score_is_read_at_the_last_token(
    scoring, forkserver, objectives, kind
):
    """Of each row, whatever its neighbours: plain PEFT gives it each row alone."""
    made = run(scoring, {kind: {"tokens": 4}}, training=SMALL)
    pod = made.folders[0]
    adapter = str(pod / "output" / "adapter")
    told = plain(scoring, forkserver, objectives, pod, "test", adapter=adapter)
    with np.load(pod / "output" / "report" / "rewards.npz") as kept:
        np.testing.assert_allclose(kept["tuned"], told, atol=1e-5)
