"""Question answering: answers that are found where the base guesses, windows of long texts, and the
result as any program loads it."""

import json

import datasets
import pytest

from tests.component.trainer import question_cases

LORA = {"lora": {"rank": 8}}
FULL = {"full": {}}
SHORT = {"maxLength": 20}
LEARNT = {"maxSteps": 300, "learningRate": 3e-3, "globalBatchSize": 8}
ROWS = 700
LEAST, CHANCE = 0.85, 0.6
"""F1 of a model that has learnt what a question asks for, and what none reaches that has not: there
are three kinds of answers in a text, and one may guess."""


@pytest.fixture(scope="module")
def asking(bench_of):
    bench = bench_of()
    bench.task = "QuestionAnswering"
    question_cases.write_questions(bench.rows)
    return bench


@pytest.fixture(scope="module")
def reference(asking):
    runs = {}

    def of(method):
        key = json.dumps(method)
        if key not in runs:
            runs[key] = asking.run(method, ranks=1, micro=8, dataset=SHORT)
            assert runs[key].codes == [0], runs[key].output
        return runs[key]

    return of


def test_long_texts_become_windows_that_know_their_question(reference):
    prepared = reference(FULL).folders[0] / "prepared"
    rows = [row for name in ("train", "validation", "test")
            for row in datasets.load_from_disk(str(prepared / name))]  # fmt: skip
    assert max(len(row["input_ids"]) for row in rows) == 20
    questions = {row["question"] for row in rows}
    assert len(rows) > len(questions) + 20
    assert len([row for row in rows if row["document"]]) == len(questions) == 90


def learn(asking, name, seed=7, **rows):
    path = asking.folder / f"{name}.jsonl"
    question_cases.write_questions(path, count=ROWS, **rows)
    dataset = {"train": {"uri": f"file://{path}"}}
    run = asking.run(
        FULL, ranks=2, micro=4, training={**LEARNT, "seed": seed}, dataset=dataset
    )  # fmt: skip
    assert run.codes == [0, 0], run.output
    (told,) = run.events("evaluation")
    return run, {result["metric"]: result for result in told["results"]}


@pytest.fixture(scope="module")
def learnt(asking):
    return learn(asking, "learnt")


def test_the_tuned_model_answers_what_the_base_guesses(learnt):
    run, results = learnt
    assert set(results) == {"f1", "exact_match"}
    assert float(results["f1"]["tuned"]) >= LEAST, results
    assert float(results["f1"]["base"]) < CHANCE, results
    assert float(results["f1"]["interval"].split(" to ")[0]) > 0.1
    rows = (run.folders[0] / "output" / "report" / "answers.jsonl").read_text().splitlines()
    assert len(rows) == results["f1"]["rows"]
    told = [json.loads(row) for row in rows]
    assert any(not row["references"] for row in told)
    assert sum(not row["tuned"] for row in told if not row["references"]) > 0


@pytest.mark.matrix
@pytest.mark.parametrize("seed", [8, 9])
def test_other_seeds_learn_as_much(asking, seed):
    _, results = learn(asking, f"seed-{seed}", seed=seed)
    assert float(results["f1"]["tuned"]) >= LEAST, results


@pytest.mark.parametrize(
    "seed",
    [7, pytest.param(8, marks=pytest.mark.matrix), pytest.param(9, marks=pytest.mark.matrix)],
)
def test_answers_to_other_questions_are_not_learnt(asking, seed):
    _, results = learn(asking, f"shuffled-{seed}", seed=seed, shuffled=True)
    assert float(results["f1"]["tuned"]) < CHANCE, results


def test_any_program_answers_as_the_report_says(asking, reference, learnt, forkserver):
    for run, name in ((learnt[0], "model"), (reference(LORA), "adapter")):
        output = run.folders[0] / "output"
        arguments = {"base": str(asking.model), "result": str(output / name),
                     "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
        (loaded,) = asking.server.call(
            question_cases.answer_with, [forkserver.Child({}, arguments)]
        )
        assert loaded.code == 0, loaded.output
        rows = (output / "report" / "answers.jsonl").read_text().splitlines()
        assert loaded.value == [json.loads(row)["tuned"] for row in rows]
        assert len(set(loaded.value)) > 3


def test_a_head_that_the_base_brings_is_kept(asking, forkserver, tmp_path):
    arguments = {"base": str(asking.model), "folder": str(tmp_path / "model")}
    (saved,) = asking.server.call(question_cases.save_with_head, [forkserver.Child({}, arguments)])
    assert saved.code == 0, saved.output
    own = type(asking)(asking.server, tmp_path, task=asking.task)
    question_cases.write_questions(own.rows, unanswered=0.0)
    run = own.run({"headOnly": {}}, ranks=1, micro=8, training={"learningRate": 1e-9})
    assert run.codes == [0], run.output
    facts = json.loads((run.folders[0] / "baseline" / "baseline.json").read_text())
    assert facts["head"] == "own"
    (told,) = run.events("evaluation")
    assert told["results"][0]["base"] == told["results"][0]["tuned"]
    rows = (run.folders[0] / "output" / "report" / "answers.jsonl").read_text().splitlines()
    assert all(json.loads(row)["tuned"] for row in rows)  # every question has an answer


def test_scores_are_those_of_the_field(asking, forkserver):
    cases = [
        (["the Norman dukes"], "Norman dukes", 1.0, 1.0),
        (["Norman dukes", "dukes"], "dukes!", 1.0, 1.0),
        (["in the year 1066"], "1066", 0.5, 0.0),
        (["a cat"], "b", 0.0, 0.0),
        ([], "", 1.0, 1.0),
        ([], "Rome", 0.0, 0.0),
        (["Rome"], "", 0.0, 0.0),
    ]
    references, answers, f1, exact = zip(*cases, strict=True)
    tuned = [one[0] if one else "x" for one in references]
    arguments = {"references": list(references), "base": list(answers), "tuned": tuned}
    (found,) = asking.server.call(question_cases.told, [forkserver.Child({}, arguments)])
    assert found.value["f1"] == pytest.approx(list(f1)), found.output
    assert found.value["exact"] == list(exact)
    assert found.value["metrics"]["f1"] == (f"{3.5 / 7:.4f}", f"{5 / 7:.4f}")
    assert found.value["rows"] == (3, 3, 1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_probe_points_where_features_tell(asking, forkserver, shuffled):
    child = forkserver.Child({}, {"shuffled": shuffled})
    (found,) = asking.server.call(question_cases.fit_pointers, [child])
    right = found.value["right"]
    assert right < 0.25 if shuffled else right > 0.85, found.output


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_cross_entropy_of_what_can_be_chosen(asking, forkserver, smoothing):
    child = forkserver.Child({}, {"smoothing": smoothing})
    (found,) = asking.server.call(question_cases.losses_by_hand, [child])
    assert found.value["ours"] == pytest.approx(found.value["hand"], rel=1e-5), found.output


def test_answers_that_lie_in_no_window_are_counted(asking):
    path = asking.folder / "lost.jsonl"
    rows = [json.loads(line) for line in asking.rows.read_text().splitlines()]
    for number in range(4):
        words = " ".join(["red", "tree"] * 20)
        rows.append({"context": f"sea {words} x{number}", "question": "hill",
                     "answers": {"text": [words], "answer_start": [4]}})  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = {"uri": f"file://{asking.rows}"}
    dataset = {"train": {"uri": f"file://{path}"}, "maxLength": 20,
               "test": held_out, "validation": held_out}  # fmt: skip
    job = asking.job(FULL, dataset=dataset)
    outcome, message = asking.prepare(job)
    assert outcome.code == 41, "all other training rows are held out too"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    own = [{**row, "context": f"{row['context']} y{n}"} for n, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in own))
    outcome, message = asking.prepare(asking.job(FULL, dataset=dataset))
    assert outcome.code == 0, outcome.output
    assert message["data"]["dropped"] == {"answerInNoWindow": 4}
