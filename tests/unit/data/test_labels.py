"""What the labels of texts are: detected, or said; and each thing that is refused then."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LabelKind, Layout
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TEST, TRAIN, split

LISTS = [{"text": f"row {n}", "label": [["a"], ["b", " a"], []][n % 3]} for n in range(9)]
NUMBERS = [{"text": f"row {n}", "label": n - 2.5} for n in range(9)]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def gather(tmp_path, content, name="rows.jsonl", test=None, **settings):
    files = [DataFile(tmp_path / name, name, TRAIN)]
    files[0].path.write_bytes(content)
    if test is not None:
        files.append(DataFile(tmp_path / "test.jsonl", "test.jsonl", TEST))
        files[1].path.write_bytes(test)
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **settings)
    return Gatherer(dataset, (Layout.LABELS,), tmp_path / "contents.arrow").gather(files)


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


BAD = {
    "no list": (
        [*LISTS, {"text": "x", "label": "a"}], {},
        ["rows.jsonl:10 ('a'): field 'label' must be a list of labels", "or [] for a row"],
    ),
    "label that is no text": (
        [*LISTS, {"text": "x", "label": ["a", 5]}], {},
        ["rows.jsonl:10 (5): field 'label[1]' must be text", "write every label as text"],
    ),
    "label twice": (
        [*LISTS, {"text": "x", "label": ["a", "a "]}], {}, ["names a label twice", "name it once"],
    ),
    "label of one row": (
        [*LISTS, {"text": "x", "label": ["c"]}], {},
        ["rows.jsonl:10 ('c'): field 'label' holds a label that a single row has"],
    ),
    "no label at all": (
        [{"text": f"x{n}", "label": []} for n in range(4)], {},
        ["the training rows: field 'label' has no row with a label"],
    ),
    "list among classes": (
        [{"text": f"x{n}", "label": "a"} for n in range(4)] + LISTS[:1], {},
        ["(['a'])", "must be text or a whole number", "dataset.labels: Multi"],
    ),
    "number that is text": (
        [*NUMBERS, {"text": "x", "label": "high"}], {},
        ["rows.jsonl:10 ('high'): field 'label' must be a number", "dataset.labels: Single"],
    ),
    "number that is missing": (
        [*NUMBERS, {"text": "x", "label": None}], {},
        ["rows.jsonl:10 (null): field 'label' has no value", "give every row its number"],
    ),
    "number that is a boolean": ([*NUMBERS, {"text": "x", "label": True}], {}, ["(true)"]),
    "number without end": (
        [*NUMBERS, {"text": "x", "label": 1e300}], {}, ["(1e+300)", "must be a number"],
    ),
    "the same number": (
        [{"text": f"x{n}", "label": 1.5} for n in range(4)], {},
        ["the training rows (1.5): field 'label' is the same number in all rows"],
    ),
    "fraction among classes": (
        [{"text": f"x{n}", "label": 1} for n in range(4)] + NUMBERS[:1], {},
        ["(-2.5)", "must be text or a whole number", "dataset.labels: Number"],
    ),
    "classes that were to be numbers": (
        [{"text": f"x{n}", "label": "ab"[n % 2]} for n in range(4)], {"labels": "Number"},
        ["('a')", "('b')", "must be a number"],
    ),
    "lists that were to be classes": (
        LISTS, {"labels": "Single"}, ["(['a'])", "must be text or a whole number"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_labels_are_refused(tmp_path, name):
    rows, settings, expected = BAD[name]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, lines(*rows), **settings)
    sentence = caught.value.failure().sentence()
    for part in expected:
        assert part in sentence, sentence


def test_lists_are_any_number_of_labels(tmp_path):
    found = gather(tmp_path, lines(*LISTS))
    assert found.kind is LabelKind.MULTI
    assert found.labels == ["a", "b"]
    assert found.label_ids.tolist() == [0, 1, 2] * 3
    assert found.notes == ["rows.jsonl: 3 labels had spaces around them"]


def test_a_label_that_only_the_test_file_has_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        gather(tmp_path, lines(*LISTS), test=lines({"text": "x", "label": ["a", "z"]}))
    assert "test.jsonl:1 ('z'): field 'label' holds a label that no training row has" in (
        caught.value.message
    )


@pytest.mark.parametrize(
    ("labels", "said", "kind"),
    [
        ([1, 2], "Auto", LabelKind.SINGLE),
        (["1.5", "2.5"], "Auto", LabelKind.SINGLE),
        ([1.5, 2], "Auto", LabelKind.NUMBER),
        ([1, 2.5], "Number", LabelKind.NUMBER),
        (["1.5", "2"], "Number", LabelKind.NUMBER),
    ],
)
def test_numbers_are_detected_by_a_fraction_in_the_first_row(tmp_path, labels, said, kind):
    rows = [{"text": f"x{n}", "label": labels[n % 2]} for n in range(6)]
    found = gather(tmp_path, lines(*rows), labels=said)
    assert found.kind is kind
    assert len(found.labels) == (2 if kind is LabelKind.SINGLE else 0)
    assert found.label_ids.max() == (1 if kind is LabelKind.SINGLE else 0)


def test_cells_of_a_csv_file_are_numbers_when_it_is_said(tmp_path):
    content = b"text,label\nx,1.5\ny,2\n"
    found = gather(tmp_path, content, name="rows.csv", labels="Number")
    assert found.rows == 2


def test_columns_of_parquet_files_tell_by_their_type(tmp_path):
    texts = [f"x{n}" for n in range(6)]
    lists = parquet(text=texts, label=[["a"], ["a", "b"], ["b"]] * 2)
    assert gather(tmp_path, lists, name="rows.parquet").kind is LabelKind.MULTI
    numbers = parquet(text=texts, label=[0.5, 1.0, 3.0] * 2)
    assert gather(tmp_path, numbers, name="rows.parquet").kind is LabelKind.NUMBER
    for column, said, rule in (
        (["a"] * 6, "Multi", "(the column is string): field 'label' must be a list of labels"),
        (["a"] * 6, "Number", "(the column is string): field 'label' must be a number"),
    ):
        with pytest.raises(DataError) as caught:
            gather(tmp_path, parquet(text=texts, label=column), "rows.parquet", labels=said)
        assert rule in caught.value.message


def test_rare_labels_stand_in_every_part(tmp_path):
    rows = [{"text": f"x{n}", "label": ["often", *["rare"] * (n % 20 == 0)]} for n in range(200)]
    found = gather(tmp_path, lines(*rows))
    parts = split(found.label_ids, {1: 0.1, 2: 0.1}, seed=3)
    rare = np.arange(200) % 20 == 0
    assert [int(rare[parts == part].sum()) for part in (0, 1, 2)] == [8, 1, 1]
