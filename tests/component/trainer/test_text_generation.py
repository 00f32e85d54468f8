"""Text generation: what is learnt of each row, equal curves, answers that get better."""

import json

import pytest

LORA = {"lora": {"rank": 8}}
FULL = {"full": {}}


@pytest.fixture(scope="module", params=[FULL, LORA], ids=["full", "lora"])
def method(request):
    return request.param


@pytest.fixture(scope="module")
def reference(writing, method):
    run = writing.run(method, ranks=1, micro=8)
    assert run.codes == [0], run.output
    return run


@pytest.mark.parametrize(
    ("ranks", "micro", "zero"), [(1, 2, None), (2, 2, None), (2, 4, 2), (2, 1, 3)]
)
def test_same_curves_however_a_batch_is_shared(writing, method, reference, ranks, micro, zero):
    run = writing.run(method, ranks=ranks, micro=micro, zero=zero)
    assert run.codes == [0] * ranks, run.output
    for name in ("loss", "grad_norm"):
        assert run.curve(name) == pytest.approx(reference.curve(name), rel=1e-5), name
    assert len(set(run.curve().values())) > 3


@pytest.fixture(scope="module")
def learnt(writing):
    """A run long enough to learn the first word."""
    training = {"maxSteps": 150, "learningRate": 5e-3, "globalBatchSize": 8}
    run = writing.run(FULL, ranks=2, micro=4, zero=2, training=training)
    assert run.codes == [0, 0], run.output
    return run


def test_the_tuned_model_answers_what_the_base_cannot(learnt):
    (told,) = learnt.events("evaluation")
    (match,) = told["results"]
    assert match["metric"] == "exact_match"
    assert float(match["base"]) <= 0.2
    assert float(match["tuned"]) >= 0.8
    assert float(match["interval"].split(" to ")[0]) > 0.3


def test_every_answer_is_kept_beside_its_prompt_and_reference(learnt):
    report = learnt.folders[0] / "output" / "report"
    rows = [json.loads(line) for line in (report / "answers.jsonl").read_text().splitlines()]
    compared = json.loads((report / "evaluation.json").read_text())
    assert len(rows) == compared["results"][0]["rows"]
    assert compared["wins"] + compared["ties"] + compared["losses"] == len(rows)
    for row in rows:
        assert row["reference"] == row["prompt"].split()[1].upper()
        assert row["prompt"].endswith("=")


def test_the_result_stops_where_answers_end(learnt):
    text = (learnt.folders[0] / "output" / "model" / "generation_config.json").read_text()
    assert json.loads(text)["eos_token_id"] == [3]
