"""Questions and their answers by place: what is read, and each thing that is refused."""

import json

import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, Task
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TRAIN

CONTEXT = "Ada met Bo in Rome. Bo liked Rome."
GOOD = [
    {"context": f"{CONTEXT} {n}", "question": "Where?",
     "answers": {"text": ["Rome", "Rome"], "answer_start": [14, 29]}}
    for n in range(4)
]  # fmt: skip


def asked(texts, starts, **others):
    """A row with these answers."""
    row = {"context": CONTEXT, "question": "Where?"}
    return {**row, "answers": {"text": texts, "answer_start": starts}, **others}


OFF = "field 'answers[0].answer_start'"
BAD = {
    "no answers": (
        asked([], [], answers=None),
        ["rows.jsonl:5 (null): field 'answers' must be answers with their places",
         'write {"text": ["Rome"], "answer_start": [14]}, with empty lists'],
    ),
    "text alone": (asked([], [], answers="Rome"), ["('Rome'): field 'answers' must be answers"]),
    "texts alone": (asked([], [], answers={"text": ["Rome"]}), ["must be answers with their"]),
    "list of texts": (asked([], [], answers=["Rome"]), ["must be answers with their places"]),
    "one offset too few": (
        asked(["Ada", "Bo"], [0]),
        ["rows.jsonl:5 (2 texts, 1 offsets): field 'answers' has another number of texts than of "
         "offsets", "give every text its answer_start"],
    ),
    "text that is a number": (asked([3], [0]), ["(3): field 'answers[0].text' must be text"]),
    "empty text": (asked([""], [0]), ["rows.jsonl:5: field 'answers[0].text' is empty"]),
    "offset that is text": (
        asked(["Ada"], ["0"]), [f"rows.jsonl:5 ('0'): {OFF} must be a whole number"],
    ),
    "offset that is a boolean": (asked(["Ada"], [False]), [f"(false): {OFF} must be a whole"]),
    "offset with a fraction": (asked(["Ada"], [0.5]), [f"(0.5): {OFF} must be a whole number"]),
    "no offset": (asked(["Ada"], [None]), [f"(null): {OFF} must be a whole number"]),
    "negative": (
        asked(["Ada"], [-1]),
        [f"rows.jsonl:5 (-1, the context has 34 characters): {OFF} lies outside the context",
         "count characters from 0"],
    ),
    "behind the end": (asked(["Rome"], [34]), ["(34, the context has 34 characters)", "outside"]),
    "not in the context": (
        asked(["Paris"], [14]),
        ["rows.jsonl:5 ('Paris'): field 'answers[0].text' does not stand in the context",
         "to the character"],
    ),
    "off by one": (
        asked(["Rome"], [15]),
        [f"rows.jsonl:5 (15 is 'ome.'): {OFF} does not stand at its offset",
         "write answer_start 14, if"],
    ),
    "nearest is behind": (asked(["Rome"], [24]), ["(24 is 'iked')", "write answer_start 29"]),
    "other capitals": (asked(["rome"], [14]), ["('rome'): field 'answers[0].text' does not stand"]),
    "empty context": (
        asked([], [], context=" "), ["rows.jsonl:5: field 'context' is empty"],
    ),
    "empty question": (asked([], [], question=""), ["field 'question' is empty"]),
    "question that is a list": (asked([], [], question=["a"]), ["field 'question' must be text"]),
    "second of a list": (
        asked([], [], answers=[{"text": "Ada", "answer_start": 0},
                               {"text": "Bo", "answer_start": 5}]),
        ["(5 is 'et'): field 'answers[1].answer_start' does not stand", "write answer_start 8"],
    ),
    "no question at all": (
        {"context": "x", "query": "y", "answers": []},
        ["field 'question' is missing", "set dataset.columns.question: query"],
    ),
}  # fmt: skip


def gather(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"))
    possible = LAYOUTS[Task.QUESTION_ANSWERING]
    gatherer = Gatherer(dataset, possible, tmp_path / "contents.arrow")
    return gatherer.gather([DataFile(path, "rows.jsonl", TRAIN)])


def contents(found):
    import pyarrow as pa

    with pa.OSFile(str(found.arrow), "rb") as source:
        table = pa.ipc.open_file(source).read_all()
    return [json.loads(content) for content in table.column("content").to_pylist()]


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_told_with_its_place_and_remedy(tmp_path, name):
    row, told = BAD[name]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, *GOOD, row)
    sentence = caught.value.failure().sentence()
    for part in told:
        assert part in sentence


def test_all_mistakes_are_told_at_once(tmp_path):
    rows = [asked(["Ada", "Rome", "Oslo"], [1, 99, 3]), asked([], [], context="")]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, *GOOD, *rows)
    assert caught.value.failure().sentence().startswith("4 problems in the dataset: (1) rows.js")


def test_both_forms_say_the_same_and_an_answer_may_be_missing(tmp_path):
    pairs = [{"text": "Rome", "answer_start": 14}, {"text": "Rome", "answer_start": 29}]
    found = gather(tmp_path, *GOOD, {**GOOD[0], "answers": pairs}, asked([], []),
                   {**GOOD[1], "answers": []})  # fmt: skip
    read = contents(found)
    assert read[0] == read[4] == ["Where?", f"{CONTEXT} 0", ["Rome", "Rome"], [14, 29]]
    assert read[5] == ["Where?", CONTEXT, [], []]
    assert read[6][2:] == [[], []]
    assert found.whole[0] == found.whole[4]
    assert found.asked[1] == found.asked[6]
    assert found.whole[1] != found.whole[6]


def test_characters_are_counted_as_python_counts_them(tmp_path):
    (row,) = contents(gather(tmp_path, asked(["é"], [1], context="😀é\u0301x")))
    assert row[2:] == [["é"], [1]]


@pytest.mark.parametrize("kind", ["struct", "list"])
def test_parquet_columns_of_answers_are_read(tmp_path, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    answers = {"text": ["Rome"], "answer_start": [14]}
    pairs = [{"text": "Rome", "answer_start": 14}]
    rows = [{**GOOD[0], "answers": answers if kind == "struct" else pairs}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"))
    gatherer = Gatherer(dataset, LAYOUTS[Task.QUESTION_ANSWERING], tmp_path / "contents.arrow")
    found = gatherer.gather([DataFile(tmp_path / "rows.parquet", "rows.parquet", TRAIN)])
    assert contents(found)[0][2:] == [["Rome"], [14]]


def test_a_parquet_column_of_texts_is_told_once(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{**row, "answers": "Rome"} for row in GOOD]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"))
    gatherer = Gatherer(dataset, LAYOUTS[Task.QUESTION_ANSWERING], tmp_path / "contents.arrow")
    with pytest.raises(DataError) as caught:
        gatherer.gather([DataFile(tmp_path / "rows.parquet", "rows.parquet", TRAIN)])
    sentence = caught.value.failure().sentence()
    assert (
        "1 problem in the dataset: rows.parquet (the column is string): field 'answers'" in sentence
    )
