"""Text generation: what is learnt of each row, answers that get better."""

import json
from functools import partial

import pytest

FULL = {"full": {}}
LEARNT = {"maxSteps": 150, "learningRate": 5e-3, "globalBatchSize": 8}
LEAST, CHANCE = 0.8, 0.35
"""Exact match of a model that has learnt the rule, and what none reaches that was told any of
twelve words: of 24 test rows the likeliest word may be right in a few."""


@pytest.fixture(scope="module")
def learnt(writing):
    """A run long enough to learn the first word."""
    run = writing.run(FULL, ranks=2, micro=4, zero=2, training=LEARNT)
    assert run.codes == [0, 0], run.output
    return run


def test_the_tuned_model_answers_what_the_base_cannot(learnt):
    (told,) = learnt.events("evaluation")
    (match,) = told["results"]
    assert match["metric"] == "exact_match"
    assert float(match["base"]) <= 0.2
    assert float(match["tuned"]) >= LEAST
    assert float(match["interval"].split(" to ")[0]) > 0.3


@pytest.mark.parametrize(
    ("seed", "shuffled"),
    [
        (1, True),
        *(
            pytest.param(seed, shuffled, marks=pytest.mark.matrix)
            for seed in (2, 3)
            for shuffled in (False, True)
        ),
    ],
)
def test_only_a_rule_is_learnt(writing_of, cases, seed, shuffled):
    write = partial(cases.write_pairs, seed=seed, shuffled=shuffled)
    run = writing_of(write, seed=seed - 1).run(FULL, training=LEARNT | {"seed": 6 + seed})
    assert run.codes == [0], run.output
    (told,) = run.events("evaluation")
    (match,) = told["results"]
    tuned = float(match["tuned"])
    assert tuned <= CHANCE if shuffled else tuned >= LEAST, match


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
