"""Speech recognition: an alphabet of tones that is read, and the result as any program loads it."""

import json
from functools import partial
from pathlib import Path

import pytest

FULL = {"full": {}}
LORA = {"lora": {"rank": 4}}
LEARNT = {
    "maxSteps": 120, "learningRate": 5e-3,
    "earlyStopping": {"patience": 0, "restoreBest": False},
}  # fmt: skip
MOST, CHANCE = 0.2, 0.5
"""Character error rate of a model that reads the alphabet, and what none falls below whose words
were shuffled: guessing the most frequent letters is wrong in more than two thirds."""


@pytest.fixture(scope="session")
def listening_of(perceiving_of, sound_cases):
    made = {}

    def of(kind, seed=1, head=False, **rows):
        key = (kind, seed, head, *rows.items())
        if key not in made:
            write = partial(sound_cases.write_speech, seed=seed, **rows)
            model = sound_cases.make_writing_model
            made[key] = perceiving_of(
                "SpeechRecognition", write, model, kind=kind, seed=seed, head=head
            )
        return made[key]

    return of


def learn(bench):
    run = bench.run(FULL, micro=8, training=LEARNT)
    assert run.codes == [0], run.output
    (told,) = run.events("evaluation")
    return run, {result["metric"]: result for result in told["results"]}


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_an_alphabet_is_read_and_chance_is_not(listening_of, sound_cases, forkserver, seed):
    bench = listening_of("masked", seed, count=240)
    run, results = learn(bench)
    assert set(results) == {"wer", "cer"}
    assert float(results["cer"]["tuned"]) <= MOST, results
    assert float(results["cer"]["base"]) > CHANCE, results
    output = run.folders[0] / "output"
    rows = (output / "report" / "answers.jsonl").read_text().splitlines()
    told = [json.loads(row) for row in rows]
    assert {row["reference"] for row in told} <= {row["reference"].upper() for row in told}
    arguments = {"base": str(bench.model), "result": str(output / "model"),
                 "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
    (loaded,) = bench.server.call(sound_cases.write_plainly, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    assert loaded.value == [row["tuned"] for row in told]
    _, by_chance = learn(listening_of("masked", seed, count=240, shuffled=True))
    assert float(by_chance["cer"]["tuned"]) > CHANCE, by_chance


def test_a_base_that_writes_keeps_its_head(listening_of, sound_cases, forkserver):
    bench = listening_of("masked", head=True)
    run = bench.run(LORA, micro=8, training={"maxSteps": 1, "learningRate": 1e-12})
    assert run.codes == [0], run.output
    output = run.folders[0] / "output"
    told = [json.loads(row) for row in (output / "report/answers.jsonl").read_text().splitlines()]
    assert [row["base"] for row in told] == [row["tuned"] for row in told]
    for result in (bench.model, output / "adapter"):
        arguments = {"base": str(bench.model), "result": str(result),
                     "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
        (loaded,) = bench.server.call(sound_cases.write_plainly, [forkserver.Child({}, arguments)])
        assert loaded.value == [row["base"] for row in told], loaded.output


def test_what_the_model_cannot_write_is_told_with_its_place(listening_of):
    bench = listening_of("masked")
    lines = [json.loads(line) for line in Path(bench.rows).read_text().splitlines()]
    texts = {0: "ab", 1: "A É", 2: "AB" * 40, 3: "  "}
    for number, text in texts.items():
        lines[number]["text"] = text
    rows = bench.folder / "rows" / "bad.jsonl"
    dataset = {"train": {"uri": f"file://{rows}"}}
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcome, message = bench.prepare(bench.job(FULL, dataset=dataset))
    assert outcome.code == 41, outcome.output
    assert message["message"] == ("1 problem in the dataset: bad.jsonl:4: field 'text' is empty")
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines[:3] + lines[4:]))
    outcome, message = bench.prepare(bench.job(FULL, dataset=dataset))
    assert outcome.code == 41, outcome.output
    told = f"{message['message']}; {message['remedy']}"
    assert (
        "bad.jsonl:1 ('ab'), bad.jsonl:2 ('É'): field 'text' holds letters that the model" in told
    )
    assert "bad.jsonl:3 (80 letters in " in told
    assert "positions of sound): field 'text' is too long for its recording" in told
    assert "write texts in capitals, as the model does" in told
