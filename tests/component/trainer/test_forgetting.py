"""What a model loses of what its base could do: told on a general set, for every kind of task."""

import json
import shutil
from functools import partial

import pytest

from tests.component.trainer import question_cases

FULL, LORA = {"full": {}}, {"lora": {"rank": 8}}
PRETRAINED = {"maxSteps": 120, "learningRate": 5e-3}
NARROW = {
    "maxSteps": 40, "learningRate": 5e-3,
    "earlyStopping": {"patience": 0, "restoreBest": False},
}  # fmt: skip
KNOWN, FORGOTTEN = 3.0, 1.5
"""Perplexity of a model that knows the general texts, and by how many times it rises when others
are learnt; of forty words all are as likely to one that knows none."""


@pytest.fixture(scope="module")
def knowing(writing_of, cases):
    """A model that knows texts in which each word decides the next, other texts of the same kind,
    and, to be learnt, prompts with completions."""
    taught = writing_of(cases.write_texts)
    run = taught.run(FULL, objective="Pretrain", training=PRETRAINED)
    assert run.codes == [0], run.output
    bench = writing_of()
    shutil.rmtree(bench.model)
    shutil.copytree(run.folders[0] / "output" / "model", bench.model)
    cases.write_texts(bench.folder / "general.jsonl", count=40, seed=2)
    cases.write_texts(bench.folder / "same.jsonl", seed=3)
    return bench


def general(bench, name="general.jsonl"):
    return {"forgetting": {"uri": f"file://{bench.folder}/{name}"}}


def told(run):
    (event,) = run.events("forgetting")
    return {result["metric"]: result for result in event["results"]}


@pytest.mark.parametrize(
    ("method", "ranks", "zero"),
    [
        (LORA, 1, None),
        pytest.param(FULL, 2, 3, marks=pytest.mark.matrix),
        pytest.param(FULL, 1, None, marks=pytest.mark.matrix),
        pytest.param({"qlora": {"rank": 8}}, 1, None, marks=pytest.mark.matrix),
    ],
)
def test_what_was_known_is_forgotten_over_something_narrow(knowing, method, ranks, zero):
    run = knowing.run(
        method, ranks=ranks, micro=8 // ranks, zero=zero, training=NARROW,
        evaluation=general(knowing),
    )  # fmt: skip
    assert set(run.codes) == {0}, run.output
    found = told(run)["perplexity"]
    base, tuned = float(found["base"]), float(found["tuned"])
    assert base < KNOWN
    assert tuned > FORGOTTEN * base
    assert float(found["interval"].split(" to ")[0]) > 0
    output = run.folders[0] / "output"
    written = json.loads((output / "report" / "forgetting.json").read_text())
    assert written["results"] == list(told(run).values())
    assert written["losses"] > written["wins"]
    assert written["wins"] + written["ties"] + written["losses"] == found["rows"] == 40
    (card,) = output.glob("*/README.md")
    of_set = card.read_text().partition("## Forgetting")[2]
    assert f"| perplexity | {found['base']} | {found['tuned']} |" in of_set
    assert f"worse on {written['losses']}" in of_set
    report = json.loads((run.folders[0] / "prepared" / "data-report.json").read_text())
    assert report["general"]["layout"] == "Text"
    assert "general" in [file["part"] for file in report["hashes"]]


def test_more_of_the_same_is_no_loss(knowing):
    """And the base, once measured, is not measured again."""
    dataset = {"train": {"uri": f"file://{knowing.folder}/same.jsonl"}}
    run = knowing.run(
        FULL, objective="Pretrain", training=NARROW | {"learningRate": 5e-4}, dataset=dataset,
        evaluation=general(knowing),
    )  # fmt: skip
    assert run.codes == [0], run.output
    found = told(run)["perplexity"]
    assert float(found["tuned"]) < 1.05 * float(found["base"]) < 1.05 * KNOWN
    kept = json.loads((run.folders[0] / "baseline" / "forgetting.json").read_text())
    assert kept["rows"] == found["rows"]


def written_by(bench, write):
    """The bench, and other rows of the same kind beside its own."""
    write(bench.folder / "general.jsonl", count=40, seed=9)
    return bench


def same(make, write, **fields):
    """A bench of one kind of rows, and what its job says beside."""
    return lambda fixture, cases: (written_by(fixture(make), write(cases)), fields)


KINDS = {
    "classes": same("bench", lambda c: c.write_rows),
    "pairs": same("writing", lambda c: c.write_pairs),
    "translations": same("rewriting", lambda c: c.write_translations),
    "tags": same("tagging", lambda c: c.write_tags),
}


RARE = [pytest.param(kind, marks=pytest.mark.matrix) for kind in ("translations", "pairs", "tags")]


@pytest.mark.parametrize("kind", ["classes", *RARE])
def test_rows_of_a_tasks_own_kind_are_measured_as_its_test_rows(request, cases, kind):
    """The general set is the test set: so is what is told of it."""
    bench, fields = KINDS[kind](request.getfixturevalue, cases)
    dataset = {"test": {"uri": f"file://{bench.folder}/general.jsonl"}}
    run = bench.run(LORA, dataset=dataset, evaluation=general(bench), **fields)
    assert run.codes == [0], run.output
    assert_same(run)


def assert_same(run):
    (event,) = run.events("evaluation")
    wanted = {result["metric"]: result for result in event["results"]}
    assert {name: one["tuned"] for name, one in told(run).items()} == {
        name: one["tuned"] for name, one in wanted.items()
    }
    assert all(one["rows"] == wanted[name]["rows"] for name, one in told(run).items())


@pytest.mark.matrix
def test_questions_and_preferences_are_measured_as_their_test_rows(bench_of, writing_of, cases):
    asking = bench_of()
    asking.task = "QuestionAnswering"
    question_cases.write_questions(asking.rows)
    question_cases.write_questions(asking.folder / "general.jsonl", seed=9)
    judging = writing_of(cases.write_preferences)
    cases.write_preferences(judging.folder / "general.jsonl", count=40, seed=9)
    for bench, fields in ((asking, {}), (judging, {"objective": "Reward"})):
        dataset = {"test": {"uri": f"file://{bench.folder}/general.jsonl"}}
        run = bench.run(FULL, dataset=dataset, evaluation=general(bench), **fields)
        assert run.codes == [0], run.output
        assert_same(run)


SPEAKERS = {
    "letters": ("make_writing_model", {"kind": "masked", "head": False}),
    "decoder": ("make_dictating_model", {"languages": False}),
}  # fmt: skip


@pytest.mark.matrix
@pytest.mark.parametrize("speaker", SPEAKERS)
def test_recordings_are_measured_as_their_test_rows(perceiving_of, sound_cases, speaker):
    name, shape = SPEAKERS[speaker]
    write, model = partial(sound_cases.write_speech, seed=1), getattr(sound_cases, name)
    bench = perceiving_of("SpeechRecognition", write, model, seed=1, **shape)
    uri = f"file://{sound_cases.write_speech(bench.folder / 'general', seed=9)}"
    run = bench.run(
        FULL, training={"maxSteps": 3}, dataset={"test": {"uri": uri}},
        evaluation={"forgetting": {"uri": uri}},
    )  # fmt: skip
    assert run.codes == [0], run.output
    assert_same(run)


@pytest.mark.matrix
@pytest.mark.parametrize("objective", ["DPO", "KTO", "GRPO"])
def test_whatever_a_language_model_learns_texts_tell_its_perplexity(writing_of, cases, objective):
    bench = writing_of(cases.write_preferences if objective == "DPO" else cases.write_pairs)
    training = {"maxSteps": 2}
    if objective == "KTO":
        rows = [json.loads(line) for line in bench.rows.read_text().splitlines()]
        lines = [json.dumps({**row, "label": n % 2 == 0}) for n, row in enumerate(rows)]
        bench.rows.write_text("\n".join(lines))
    if objective == "GRPO":
        training["grpo"] = {
            "rewards": {"length": {"tokens": 1}},
            "generations": 2,
            "maxNewTokens": 4,
        }
    cases.write_texts(bench.folder / "general.jsonl", count=20, seed=2)
    run = bench.run(LORA, objective=objective, training=training, evaluation=general(bench))
    assert run.codes == [0], run.output
    found = told(run)["perplexity"]
    assert float(found["base"]) > 20
    assert found["base"] != found["tuned"]
