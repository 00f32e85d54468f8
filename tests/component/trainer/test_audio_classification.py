"""Audio classification: tones that are told apart, and the result as any program loads it."""

from functools import partial

import numpy as np
import pytest

FULL = {"full": {}}
LORA = {"lora": {"rank": 4}}
METHODS = {"full": FULL, "lora": LORA}
LEARNT = {
    "maxSteps": 150, "learningRate": 6e-3,
    "earlyStopping": {"patience": 0, "restoreBest": False},
}  # fmt: skip
LEAST, CHANCE = 0.85, 0.62
"""Accuracy of a model that hears the second of two tones, and what none reaches whose labels
were shuffled. Guessing is right in a third."""


@pytest.fixture(scope="session")
def hearing_of(perceiving_of, sound_cases):
    made = {}

    def of(kind, seed=1, **rows):
        key = (kind, seed, *rows.items())
        if key not in made:
            write = partial(sound_cases.write_tones, seed=seed, **rows)
            model = sound_cases.make_hearing_model
            made[key] = perceiving_of("AudioClassification", write, model, kind=kind, seed=seed)
        return made[key]

    return of


@pytest.fixture(scope="module")
def reference(hearing_of):
    runs = {}

    def of(kind, name):
        if (kind, name) not in runs:
            training = {"maxSteps": 3}
            runs[kind, name] = hearing_of(kind).run(METHODS[name], micro=8, training=training)
            assert runs[kind, name].codes == [0], runs[kind, name].output
        return runs[kind, name]

    return of


def learn(bench):
    run = bench.run(FULL, micro=8, training=LEARNT)
    assert run.codes == [0], run.output
    (told,) = run.events("evaluation")
    return {result["metric"]: result for result in told["results"]}["accuracy"]


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_tones_are_told_apart_and_chance_is_not(hearing_of, seed):
    heard = learn(hearing_of("masked", seed, count=240))
    assert heard["rows"] == 48
    assert float(heard["tuned"]) >= LEAST, heard
    assert float(heard["tuned"]) > float(heard["base"]), heard
    by_chance = learn(hearing_of("masked", seed, count=240, shuffled=True))
    assert float(by_chance["tuned"]) < CHANCE, by_chance


@pytest.mark.parametrize(("kind", "name"), [("masked", "full"), ("ast", "lora")])
def test_any_program_gives_the_same_scores(
    hearing_of, reference, sound_cases, forkserver, kind, name
):
    bench, run = hearing_of(kind), reference(kind, name)
    output = run.folders[0] / "output"
    result = output / ("adapter" if name == "lora" else "model")
    arguments = {"base": str(bench.model), "result": str(result),
                 "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
    (loaded,) = bench.server.call(sound_cases.hear_plainly, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    with np.load(output / "report" / "predictions.npz") as kept:
        np.testing.assert_allclose(kept["tuned_logits"], np.array(loaded.value), atol=5e-5)
        assert kept["tuned_logits"].shape == (24, 3)


def test_what_the_model_cannot_hear_is_told_with_its_place(hearing_of, sound_cases, tmp_path):
    import soundfile

    bench = hearing_of("masked")
    rows = sound_cases.write_tones(tmp_path / "rows")
    soundfile.write(tmp_path / "rows" / "low" / "click.wav", [0.5] * 40, sound_cases.RATE)
    dataset = {"train": {"uri": f"file://{rows}"}}
    outcome, message = bench.prepare(bench.job(FULL, dataset=dataset))
    assert outcome.code == 41, outcome.output
    assert message["message"] == (
        "1 problem in the dataset: low/click.wav (0.005 s): is too short for the model"
    )
