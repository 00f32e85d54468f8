"""Judged answers: what is read, and each bad row with its sentence."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.dataset import Columns, Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TEST, TRAIN

GOOD = [{"prompt": f"q{n}", "completion": f"a{n}", "label": n % 3 == 0} for n in range(8)]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def gather(tmp_path, content, name="rows.jsonl", test=None, **settings):
    files = [DataFile(tmp_path / name, name, TRAIN)]
    files[0].path.write_bytes(content)
    if test is not None:
        files.append(DataFile(tmp_path / "test.jsonl", "test.jsonl", TEST))
        files[1].path.write_bytes(test)
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **settings)
    return Gatherer(dataset, (Layout.KTO,), tmp_path / "contents.arrow").gather(files)


def contents(found):
    with pa.OSFile(str(found.arrow)) as file:
        return [json.loads(row) for row in pa.ipc.open_file(file).read_all()["content"].to_pylist()]


def refusal(tmp_path, content, **settings):
    with pytest.raises(DataError) as caught:
        gather(tmp_path, content, **settings)
    return caught.value.failure().sentence()


def test_answers_are_read_with_their_judgements(tmp_path):
    found = gather(tmp_path, lines(*GOOD))
    assert contents(found)[:2] == [["q0", "a0", True], ["q1", "a1", False]]
    assert (found.layout, found.labels) == (Layout.KTO, ["bad", "good"])
    assert found.label_ids.tolist() == [1, 0, 0, 1, 0, 0, 1, 0]


def test_a_table_says_the_same_in_words(tmp_path):
    words = ("True", "false", "0", "1", "TRUE", "FALSE")
    rows = "".join(f"q{n},a{n},{word}\n" for n, word in enumerate(words))
    found = gather(tmp_path, f"prompt,completion,label\n{rows}".encode(), name="rows.csv")
    assert [good for *_, good in contents(found)] == [True, False, False, True, True, False]


@pytest.mark.parametrize("kind", [pa.bool_(), pa.int8(), pa.string()])
def test_a_typed_column_is_read(tmp_path, kind):
    table = pa.table({
        "prompt": [f"q{n}" for n in range(4)], "completion": [f"a{n}" for n in range(4)],
        "thumb": pa.array([1, 0, 1, 0], pa.int8()).cast(kind),
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    found = gather(tmp_path, sink.getvalue().to_pybytes(), "rows.parquet",
                   columns=Columns(label="thumb"))  # fmt: skip
    assert [good for *_, good in contents(found)] == [True, False, True, False]


def test_a_column_of_fractions_is_refused(tmp_path):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"prompt": ["q"], "completion": ["a"], "label": [0.5]}), sink)
    told = refusal(tmp_path, sink.getvalue().to_pybytes(), name="rows.parquet")
    assert "rows.parquet (the column is double): field 'label' must be true or false" in told


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    bad = [
        {"completion": "a", "label": True},
        {"prompt": "", "completion": "a", "label": True},
        {"prompt": "q", "completion": ["a"], "label": True},
        {"prompt": "q", "completion": "a", "label": "good"},
        {"prompt": "q", "completion": "a", "label": 2},
        {"prompt": "q", "completion": "a", "label": None},
        {"prompt": "q", "completion": "a", "label": 1.0},
    ]
    told = refusal(tmp_path, lines(*GOOD, *bad))
    for part in (
        "7 problems",
        "rows.jsonl:9 (columns seen: completion, label): field 'prompt' is missing",
        "rows.jsonl:10: field 'prompt' is empty",
        "rows.jsonl:11 (['a']): field 'completion' must be text",
        "rows.jsonl:12 ('good'), rows.jsonl:13 (2), rows.jsonl:14 (null) and 1 more: field 'label' "
        "must be true or false",
        "write true where the answer is good and false where it is not",
    ):
        assert part in told, told


def test_columns_under_other_names_are_guessed(tmp_path):
    told = refusal(tmp_path, lines({"question": "q", "reply": "a", "label": True}))
    assert "dataset.columns.prompt: question" in told
    assert "dataset.columns.completion: reply" in told


@pytest.mark.parametrize("good", [True, False])
def test_one_judgement_for_all_is_refused(tmp_path, good):
    told = refusal(tmp_path, lines(*({**row, "label": good} for row in GOOD)))
    assert f"the training rows ({str(good).lower()}): field 'label' is the same in all rows" in told
    assert "add answers that were judged otherwise" in told


def test_a_lonely_judgement_is_refused(tmp_path):
    told = refusal(tmp_path, lines(*({**row, "label": row is GOOD[4]} for row in GOOD)))
    assert "rows.jsonl:5 ('good'): field 'label' holds a judgement that a single row has" in told


def test_held_out_rows_are_judged_as_training_rows_are(tmp_path):
    assert gather(tmp_path, lines(*GOOD), test=lines(GOOD[0])).rows == 9
    told = refusal(tmp_path, lines(*GOOD), test=lines({**GOOD[0], "label": "?"}))
    assert "test.jsonl:1 ('?'): field 'label' must be true or false" in told
