"""Speech recognition by a model with a decoder: an alphabet of tones that is read, and the result
as any program loads it."""

import json
from functools import partial
from pathlib import Path

import pytest

FULL = {"full": {}}
LORA = {"lora": {"rank": 4}}
METHODS = {"full": FULL, "lora": LORA}
LEARNT = {
    "maxSteps": 180, "learningRate": 3e-3, "warmupRatio": 0.1,
    "earlyStopping": {"patience": 0, "restoreBest": False},
}  # fmt: skip
MOST, CHANCE = 0.2, 0.5
"""Character error rate of a model that reads the alphabet, and what none falls below whose words
were shuffled."""


@pytest.fixture(scope="session")
def dictating_of(perceiving_of, sound_cases):
    made = {}

    def of(seed=1, languages=False, **rows):
        key = (seed, languages, *rows.items())
        if key not in made:
            write = partial(sound_cases.write_speech, seed=seed, **rows)
            made[key] = perceiving_of(
                "SpeechRecognition", write, sound_cases.make_dictating_model, seed=seed,
                languages=languages,
            )  # fmt: skip
        return made[key]

    return of


def learn(bench):
    run = bench.run(FULL, micro=8, training=LEARNT)
    assert run.codes == [0], run.output
    (told,) = run.events("evaluation")
    return {result["metric"]: result for result in told["results"]}


def written_by(run):
    lines = (run.folders[0] / "output/report/answers.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def dictated(bench, sound_cases, forkserver, run, result):
    """What plain transformers writes with the exported ``result``, as tokens."""
    arguments = {"base": str(bench.model), "result": str(run.folders[0] / "output" / result),
                 "prepared": str(run.folders[0] / "prepared")}  # fmt: skip
    (loaded,) = bench.server.call(sound_cases.dictate_plainly, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    return loaded.value


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_an_alphabet_is_read_and_chance_is_not(dictating_of, seed):
    results = learn(dictating_of(seed, count=240))
    assert set(results) == {"wer", "cer"}
    assert float(results["cer"]["tuned"]) <= MOST, results
    assert float(results["cer"]["base"]) > CHANCE, results
    by_chance = learn(dictating_of(seed, count=240, shuffled=True))
    assert float(by_chance["cer"]["tuned"]) > CHANCE, by_chance


@pytest.mark.parametrize("name", ["full", pytest.param("lora", marks=pytest.mark.matrix)])
def test_any_program_writes_the_same(dictating_of, sound_cases, forkserver, name):
    bench = dictating_of(languages=True)
    dataset = {"spokenLanguage": "german"}
    run = bench.run(
        METHODS[name], micro=8, training={"maxSteps": 20, "learningRate": 3e-3}, dataset=dataset
    )
    assert run.codes == [0], run.output
    tokens = dictated(bench, sound_cases, forkserver, run, "model" if name == "full" else "adapter")
    letters = {9 + place: letter for place, letter in enumerate(sound_cases.PITCHES)}
    texts = ["".join(letters.get(token, "") for token in row) for row in tokens]
    assert texts == [row["tuned"] for row in written_by(run)]
    assert len(set(texts)) > 2
    config = json.loads((run.folders[0] / "output" / ("model" if name == "full" else "adapter")
                         / "generation_config.json").read_text())  # fmt: skip
    assert config["language"] == "<|de|>"
    assert config["task"] == "transcribe"


def test_what_the_decoder_is_told_is_what_it_is_given_when_it_writes(
    dictating_of, sound_cases, forkserver
):
    bench = dictating_of(languages=True)
    (told,) = bench.server.call(
        sound_cases.beginnings, [forkserver.Child({}, {"folder": str(bench.model)})]
    )
    assert told.code == 0, told.output
    learnt, given = told.value
    assert learnt == given == [3, 5, 6, 8]


def test_a_language_must_be_one_of_the_models(dictating_of):
    for languages, dataset, sentence in (
        (True, {}, "writes several languages and is not told which; "
                   "set dataset.spokenLanguage to one of de, en"),
        (True, {"spokenLanguage": "fr"}, "dataset.spokenLanguage fr: the model at"),
        (False, {"spokenLanguage": "fr"}, "names no languages; remove dataset.spokenLanguage"),
    ):  # fmt: skip
        bench = dictating_of(languages=languages)
        outcome, message = bench.prepare(bench.job(FULL, dataset=dataset))
        assert outcome.code == 40, outcome.output
        assert sentence in f"{message['message']}; {message['remedy']}"


def test_what_the_model_cannot_take_whole_is_told_or_left_out(dictating_of, sound_cases):
    bench = dictating_of()
    sound_cases.write_long(bench.rows, seconds=1.5)
    rows = Path(bench.rows).parent / "long.jsonl"
    dataset = {"train": {"uri": f"file://{rows}"}}
    outcome, message = bench.prepare(bench.job(FULL, dataset=dataset))
    assert outcome.code == 41, outcome.output
    told = f"{message['message']}; {message['remedy']}"
    assert "long.jsonl:1 (1.5 s): is longer than the 1 s that the model hears" in told
    assert "long.jsonl:2 (31 tokens): field 'text' is longer than the 24 tokens that" in told
    outcome, message = bench.prepare(bench.job(FULL, dataset=dataset | {"overlength": "Drop"}))
    assert outcome.code == 0, outcome.output
    assert message["data"]["dropped"] == {"overlength": 2}


def test_a_head_of_the_bases_own_is_no_method(dictating_of):
    bench = dictating_of()
    outcome, message = bench.prepare(bench.job({"headOnly": {}}))
    assert outcome.code == 40, outcome.output
    assert "method.headOnly: the output layer belongs to the base model" in message["message"]


@pytest.mark.matrix
def test_it_tells_classes_apart_as_well(perceiving_of, sound_cases):
    model = sound_cases.make_dictating_model
    bench = perceiving_of("AudioClassification", sound_cases.write_tones, model)
    run = bench.run(FULL, micro=8, training=LEARNT)
    assert run.codes == [0], run.output
    (told,) = run.events("evaluation")
    results = {result["metric"]: result for result in told["results"]}
    assert float(results["accuracy"]["tuned"]) >= 0.75, results


CHANGED = {
    "augmentation": {"audio": {"noise": {"lowest": 10, "highest": 30}, "speed": {"fastest": 1.2}}}
}


@pytest.mark.parametrize(
    "task", ["Dictation", *(pytest.param(of, marks=pytest.mark.matrix) for of in
                            ("SpeechRecognition", "AudioClassification"))]
)  # fmt: skip
def test_recordings_change_alike_however_a_batch_is_shared(
    dictating_of, perceiving_of, sound_cases, task
):
    if task == "Dictation":
        bench = dictating_of()
    else:
        speaks = task == "SpeechRecognition"
        rows = sound_cases.write_speech if speaks else sound_cases.write_tones
        model = sound_cases.make_writing_model if speaks else sound_cases.make_hearing_model
        bench = perceiving_of(task, rows, model, kind="unmasked")
    training = {"maxSteps": 3}
    alone = bench.run(FULL, micro=8, training=training, dataset=CHANGED)
    shared = bench.run(FULL, ranks=2, micro=2, training=training, dataset=CHANGED)
    plain = bench.run(FULL, micro=8, training=training)
    assert shared.codes == [0, 0], shared.output
    assert shared.curve() == pytest.approx(alone.curve(), rel=1e-5)
    assert plain.curve() != pytest.approx(alone.curve(), rel=1e-3)
    report = json.loads((alone.folders[0] / "prepared" / "data-report.json").read_text())
    speed = {"slowest": 0.9, "fastest": 1.2}
    told = {"noise": {"lowest": 10.0, "highest": 30.0}, "speed": speed}
    assert report["augmentation"] == {"everyPass": {"audio": told}}
