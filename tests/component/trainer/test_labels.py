"""Text classification with any number of labels and with numbers: better than the probe, and the
result as any program loads it."""

import numpy as np
import pytest

LORA = {"lora": {"rank": 4}}
FULL = {"full": {}}
KINDS = ("Multi", "Number")
LEARNT = {
    "Single": {"least": 0.9, "chance": 0.55, "metrics": ["accuracy", "macro_f1"]},
    "Multi": {"least": 0.9, "chance": 0.6, "metrics": ["micro_f1", "macro_f1"]},
    "Number": {"least": 0.8, "chance": 0.2, "metrics": ["r2", "spearman", "mae"]},
}  # fmt: skip
"""Of the first metric: what a model reaches that has learnt the rule, and what none reaches whose
labels were shuffled (one of three classes; a micro F1 of half the labels; no variance)."""
TRAINING = {
    "maxSteps": 300, "learningRate": 3e-3, "globalBatchSize": 8, "earlyStopping": {"patience": 0},
}  # fmt: skip
RARE = [
    pytest.param(kind, seed, marks=pytest.mark.matrix)
    for kind, seed in [("Single", 1), *((kind, seed) for kind in LEARNT for seed in (2, 3))]
]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def labelled(bench_of, cases):
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = bench_of()
            cases.write_labels(made[kind].rows, kind)
        return made[kind]

    return of


def learn(bench, cases, kind, seed, **rows):
    path = bench.folder / f"learn-{kind}-{seed}-{len(rows)}.jsonl"
    cases.write_labels(path, kind, seed=seed, **rows)
    dataset = {"train": {"uri": f"file://{path}"}}
    run = bench.run(FULL, micro=8, training=TRAINING | {"seed": 6 + seed}, dataset=dataset)
    assert run.codes == [0], run.output
    (told,) = run.events("evaluation")
    assert [result["metric"] for result in told["results"]] == LEARNT[kind]["metrics"]
    return told["results"][0]


@pytest.mark.parametrize(("kind", "seed"), [("Multi", 1), ("Number", 1), *RARE])
def test_a_rule_is_learnt_and_chance_is_not(bench, cases, kind, seed):
    """One rank: how a batch is shared changes no curve, as other tests hold."""
    wanted = LEARNT[kind]
    result = learn(bench, cases, kind, seed)
    assert float(result["tuned"]) >= wanted["least"], result
    assert float(result["tuned"]) > float(result["base"]) or kind == "Single", result
    by_chance = learn(bench, cases, kind, seed, shuffled=True)
    assert float(by_chance["tuned"]) < wanted["chance"], by_chance


def test_any_program_gives_the_same_scores(labelled, cases, forkserver, kind):
    bench = labelled(kind)
    run = bench.run(LORA, ranks=1, micro=8)
    assert run.codes == [0], run.output
    output = run.folders[0] / "output"
    arguments = {"base": str(bench.model), "adapter": str(output / "adapter"),
                 "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
    (loaded,) = bench.server.call(cases.load_adapter, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    with np.load(output / "report" / "predictions.npz") as kept:
        np.testing.assert_allclose(kept["tuned_logits"], np.array(loaded.value), atol=1e-4)
        assert kept["truth"].shape == kept["tuned"].shape
        assert len(np.unique(kept["tuned"])) > 1


def test_smoothing_of_numbers_is_refused(labelled, kind):
    if kind == "Multi":
        run = labelled(kind).run(FULL, ranks=1, micro=8, training={"labelSmoothing": 0.1})
        assert run.codes == [0], run.output
        return
    job = labelled(kind).job(FULL, training={"labelSmoothing": 0.1})
    outcome, message = labelled(kind).prepare(job)
    assert outcome.code == 40
    assert "training.labelSmoothing is for names of classes" in message["message"]
