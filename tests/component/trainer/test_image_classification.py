"""Image classification: digits that are read, and the result as any program loads it."""

import json
from functools import partial

import numpy as np
import pytest

FULL = {"full": {}}
LORA = {"lora": {"rank": 4}}
METHODS = {"full": FULL, "lora": LORA}
WHOLE = {"earlyStopping": {"patience": 0, "restoreBest": False}}
LEARNT = {
    "vit": {"maxSteps": 200, "learningRate": 1e-3},
    "resnet": {"maxSteps": 120, "learningRate": 5e-3},
}  # fmt: skip
LEAST = {"vit": 0.68, "resnet": 0.75}
CHANCE, GAIN = 0.3, 0.05
"""Accuracy of a model that has learnt to read digits, what none reaches whose labels were shuffled
(guessing is right in a tenth), and what is gained over the probe at least."""


@pytest.fixture(scope="session")
def seeing_of(perceiving_of, media_cases):
    made = {}

    def of(kind, seed=1, **rows):
        key = (kind, seed, *rows)
        if key not in made:
            write = partial(media_cases.write_digits, seed=seed, **rows)
            model = media_cases.make_vision_model
            made[key] = perceiving_of("ImageClassification", write, model, kind=kind, seed=seed)
        return made[key]

    return of


@pytest.fixture(scope="module")
def reference(seeing_of):
    runs = {}

    def of(kind, name):
        if (kind, name) not in runs:
            runs[kind, name] = seeing_of(kind).run(METHODS[name], micro=8, training={"maxSteps": 4})
            assert runs[kind, name].codes == [0], runs[kind, name].output
        return runs[kind, name]

    return of


def scores(run):
    (told,) = run.events("evaluation")
    return {result["metric"]: result for result in told["results"]}


def learn(bench, kind):
    run = bench.run(FULL, ranks=1, micro=8, training=LEARNT[kind] | WHOLE)
    assert run.codes == [0], run.output
    return scores(run)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_digits_are_read_and_chance_is_not(seeing_of, kind, seed):
    results = learn(seeing_of(kind, seed), kind)
    assert set(results) == {"accuracy", "macro_f1"}
    accuracy = results["accuracy"]
    assert accuracy["rows"] == 72
    assert float(accuracy["tuned"]) >= LEAST[kind], results
    assert float(accuracy["tuned"]) >= float(accuracy["base"]) + GAIN, results
    by_chance = learn(seeing_of(kind, seed, shuffled=True), kind)["accuracy"]
    assert float(by_chance["tuned"]) < CHANCE, by_chance


@pytest.mark.parametrize(
    ("kind", "name"),
    [("vit", "lora"), ("resnet", "full"), ("resnet", "lora"),
     pytest.param("vit", "full", marks=pytest.mark.matrix)],
)  # fmt: skip
def test_any_program_gives_the_same_scores(
    seeing_of, reference, media_cases, forkserver, kind, name
):
    bench, run = seeing_of(kind), reference(kind, name)
    output = run.folders[0] / "output"
    result = output / ("adapter" if name == "lora" else "model")
    arguments = {"base": str(bench.model), "result": str(result),
                 "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
    (loaded,) = bench.server.call(media_cases.see_plainly, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    with np.load(output / "report" / "predictions.npz") as kept:
        np.testing.assert_allclose(kept["tuned_logits"], np.array(loaded.value), atol=5e-5)
        assert kept["tuned_logits"].shape == (72, 10)


def test_statistics_of_batches_stay_those_of_the_base(seeing_of, reference, media_cases):
    base = media_cases.statistics_of(str(seeing_of("resnet").model))
    tuned = media_cases.statistics_of(str(reference("resnet", "full").folders[0] / "output/model"))
    assert len(base) > 4
    assert tuned == base


@pytest.mark.parametrize(
    ("kind", "spec", "sentence"),
    [
        ("resnet", {"training": {"gradientCheckpointing": True}},
         "training.gradientCheckpointing: ResNetForImageClassification cannot compute its layers"),
        ("vit", {"task": "TextClassification"}, "has no tokenizer"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_prepare(seeing_of, kind, spec, sentence):
    bench = seeing_of(kind)
    outcome, message = bench.prepare(bench.job(FULL, **spec))
    assert outcome.code == 40, outcome.output
    assert sentence in message["message"]


CHANGED = {"augmentation": {"image": {"rotate": 20, "crop": 0.2, "brightness": 0.3}}}


def test_images_change_alike_however_a_batch_is_shared_and_where_a_run_is_resumed(seeing_of):
    bench, training = seeing_of("vit"), {"maxSteps": 6}
    shape = {"ranks": 2, "micro": 2, "training": training, "dataset": CHANGED}
    shape["plan"] = {"checkpoint_every": 3}
    alone = bench.run(FULL, micro=8, training=training, dataset=CHANGED)
    shared = bench.run(FULL, **shape)
    plain = bench.run(FULL, micro=8, training=training)
    assert shared.curve() == pytest.approx(alone.curve(), rel=1e-5), shared.output
    assert plain.curve() != pytest.approx(alone.curve(), rel=1e-3)

    def stop(rank, folder):
        done, request = folder / "done", folder / "control" / "stop"
        return {"trouble": {"step": 2, "touch": str(request), "done": str(done)}} if rank else {}

    stopped = bench.run(FULL, **shape, arguments=stop)
    assert stopped.codes == [50, 50], stopped.output
    resumed = bench.run(FULL, **shape, resume=stopped)
    assert resumed.codes == [0, 0], resumed.output
    assert resumed.curve() == {step: loss for step, loss in shared.curve().items() if step > 3}
    report = json.loads((resumed.folders[0] / "prepared" / "data-report.json").read_text())
    assert report["augmentation"] == {
        "everyPass": {"image": {"flip": False, "contrast": 0.0, **CHANGED["augmentation"]["image"]}}
    }
