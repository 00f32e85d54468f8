"""KTO: the loss that plain models give, what is learnt shows on new rows."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

FULL = {"full": {}}
LORA = {"lora": {"rank": 8}}
SEED = 7


@pytest.fixture(scope="module")
def judging(writing_of, objectives):
    return writing_of(objectives.write_judged)


def run(bench, method=FULL, **options):
    made = bench.run(method, objective="KTO", **options)
    assert set(made.codes) == {0}, made.output
    return made


def scores(made):
    (told,) = made.events("evaluation")
    return {result["metric"]: result for result in told["results"]}


@pytest.fixture(scope="module")
def reference(judging):
    return run(judging)


def test_the_drift_is_estimated_once_a_step_from_all_rows(judging, objectives):
    training = {"learningRate": 3e-2}
    made = run(
        judging, ranks=2, micro=2, function=objectives.run_told, training=training,
        arguments=lambda rank, folder: {"told": str(folder / "told.json")},
    )  # fmt: skip
    told = [json.loads((pod / "told.json").read_text()) for pod in made.folders]
    ranks = [[[row[1:] for row in rank if row[0] == kind] for kind in ("gained", "drift")]
             for rank in told]  # fmt: skip
    gained, drift = (np.array([rank[kind] for rank in ranks]) for kind in (0, 1))
    assert gained.shape == drift.shape == (2, 12, 2)
    assert set(gained[:, :, 1].flat) == {2.0}
    of_step = gained[:, :, 0].reshape(2, 6, 2).sum(axis=(0, 2)) / 8
    assert of_step[0] == pytest.approx(0, abs=1e-5)
    wanted = np.broadcast_to(np.maximum(of_step, 0)[None, :, None], (2, 6, 4))
    np.testing.assert_allclose(drift.reshape(2, 6, 4), wanted, rtol=1e-6)
    assert (of_step > 0.01).any()
    assert (of_step < -0.01).any() or of_step[-1] > 0.1


def plain(bench, forkserver, objectives, pod, part, **result):
    arguments = {"base": str(bench.model), "prepared": str(pod / "prepared"), "part": part,
                 "seed": SEED} | result  # fmt: skip
    (found,) = bench.server.call(objectives.plain_judged, [forkserver.Child({}, arguments)])
    return np.array(found.value)


def test_the_result_is_an_ordinary_model_and_its_loss_the_papers(
    judging, reference, forkserver, objectives
):
    pod = reference.folders[0]
    told = partial(plain, judging, forkserver, objectives, pod)
    model = str(pod / "output" / "model")
    old, new = told("validation"), told("validation", base=model)
    gained, other = (new - old)[:, 0], (new - old)[:, 1]
    good = old[:, 3] == 1
    train = np.array([row["good"] for row in _rows(pod)])
    weight = np.where(good, 0.5 / train.mean(), 0.5 / (1 - train.mean()))
    margin = np.where(good, 1, -1) * (gained - max(0.0, other.mean()))
    wanted = (weight * (1 - 1 / (1 + np.exp(-0.1 * margin)))).mean()
    assert reference.events("metrics")[-1]["values"]["eval_loss"] == pytest.approx(wanted, rel=1e-4)
    base, tuned = told("test"), told("test", base=model)
    with np.load(pod / "output" / "report" / "likelihoods.npz") as kept:
        np.testing.assert_allclose(kept["base"][:, [0, 2]], base[:, :2], rtol=1e-4)
        np.testing.assert_allclose(kept["tuned"][:, [0, 2]], tuned[:, :2], rtol=1e-4)
    result = scores(reference)
    for name, one, other in (
        ("reward_auroc", 0 * base[:, 0], tuned[:, 0] - base[:, 0]),
        ("preference_auroc", base[:, 0] / base[:, 2], tuned[:, 0] / base[:, 2]),
    ):
        told = [float(result[name][side]) for side in ("base", "tuned")]
        assert told == pytest.approx([roc_auc_score(base[:, 3], s) for s in (one, other)], abs=1e-3)


def _rows(pod):
    import pyarrow as pa

    (file,) = (pod / "prepared" / "train").glob("*.arrow")
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).read_all().to_pylist()


def test_an_adapter_starts_from_its_base_and_is_an_ordinary_one(judging, forkserver, objectives):
    made = run(
        judging, LORA, ranks=2, micro=4, zero=2, training={"beta": 0.5},
        output={"artifacts": ["Adapter", "Merged"]},
    )  # fmt: skip
    pod = made.folders[0]
    output = pod / "output"
    for result in ({"adapter": str(output / "adapter")}, {"base": str(output / "merged")}):
        tuned = plain(judging, forkserver, objectives, pod, "test", **result)
        with np.load(output / "report" / "likelihoods.npz") as kept:
            np.testing.assert_allclose(kept["tuned"][:, [0, 2]], tuned[:, :2], rtol=1e-4)
            assert not np.allclose(kept["base"], kept["tuned"], rtol=1e-3)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_only_real_judgements_are_learnt(writing_of, objectives, shuffled, seed):
    """Chance is one half."""
    made = run(
        writing_of(partial(objectives.write_judged, count=240, shuffled=shuffled, seed=seed)),
        training={"maxSteps": 100, "learningRate": 3e-3, "seed": seed},
    )  # fmt: skip
    found = scores(made)["reward_auroc"]
    assert found["rows"] == 48
    assert found["base"] == "0.5000"
    tuned = float(found["tuned"])
    assert tuned < 0.75 if shuffled else tuned > 0.9
