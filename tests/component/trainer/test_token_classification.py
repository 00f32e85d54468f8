"""Token classification: entities that are found where the base finds none, and the result as any
program loads it."""

import json

import pytest

LORA = {"lora": {"rank": 8}}
FULL = {"full": {}}
LEARNT = {"maxSteps": 200, "learningRate": 5e-3, "globalBatchSize": 8}
OTHER_SEEDS = (2, 3)
ROWS = 240
LEAST = 0.9
"""F1 of a model that has learnt the rule. Tags at random places cannot reach half of it."""


@pytest.fixture(scope="module")
def reference(tagging):
    runs = {}

    def of(method):
        key = json.dumps(method)
        if key not in runs:
            runs[key] = tagging.run(method, ranks=1, micro=8)
            assert runs[key].codes == [0], runs[key].output
        return runs[key]

    return of


def test_virtual_tokens_before_the_text_have_no_tags(tagging):
    run = tagging.run({"promptTuning": {"tokens": 4}}, ranks=1, micro=8)
    assert run.codes == [0], run.output
    assert run.events("evaluation")


def learn(tagging, cases, seed=1, **rows):
    path = tagging.folder / f"learnt-{seed}-{len(rows)}.jsonl"
    cases.write_tags(path, count=ROWS, seed=seed, **rows)
    dataset = {"train": {"uri": f"file://{path}"}}
    training = LEARNT | {"seed": 6 + seed}
    run = tagging.run(FULL, ranks=2, micro=4, training=training, dataset=dataset)
    assert run.codes == [0, 0], run.output
    (told,) = run.events("evaluation")
    return run, {result["metric"]: result for result in told["results"]}


@pytest.fixture(scope="module")
def learnt(tagging, cases):
    return learn(tagging, cases)


def test_the_tuned_model_finds_what_the_base_does_not(learnt):
    run, results = learnt
    assert set(results) == {"micro_f1", "macro_f1"}
    for result in results.values():
        assert float(result["tuned"]) >= LEAST, results
        assert float(result["interval"].split(" to ")[0]) > 0.02
    rows = (run.folders[0] / "output" / "report" / "tags.jsonl").read_text().splitlines()
    assert len(rows) == results["micro_f1"]["rows"]


@pytest.mark.matrix
@pytest.mark.parametrize("seed", OTHER_SEEDS)
def test_other_seeds_find_as_much(tagging, cases, seed):
    _, results = learn(tagging, cases, seed)
    assert float(results["micro_f1"]["tuned"]) >= LEAST, results


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in OTHER_SEEDS)]
)
def test_tags_at_random_places_are_not_learnt(tagging, cases, seed):
    _, results = learn(tagging, cases, seed, shuffled=True)
    assert float(results["micro_f1"]["tuned"]) < LEAST / 2


def test_any_program_tags_as_the_report_says(tagging, reference, learnt, cases, forkserver):
    for run, name in ((learnt[0], "model"), (reference(LORA), "adapter")):
        output = run.folders[0] / "output"
        arguments = {"base": str(tagging.model), "result": str(output / name),
                     "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
        (loaded,) = tagging.server.call(cases.tag_with, [forkserver.Child({}, arguments)])
        assert loaded.code == 0, loaded.output
        rows = (output / "report" / "tags.jsonl").read_text().splitlines()
        assert loaded.value == [json.loads(row)["tuned"] for row in rows]
        assert len({tag for row in loaded.value for tag in row}) > 3
