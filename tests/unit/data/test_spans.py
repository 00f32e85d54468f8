"""Entities by characters and by words: what is read, and each thing that is refused."""

import json

import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, Layout, Task
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TEST, TRAIN

GOOD = [
    {"text": f"Ada met Bo in Rome, {n}.", "spans": [
        {"start": 0, "end": 3, "label": "PER"}, {"start": 14, "end": 18, "label": "LOC"},
    ]}
    for n in range(6)
]  # fmt: skip
TAGGED = [
    {"tokens": ["Ada", "Lovelace", "met", "Bo", str(n)], "tags": ["B-P", "I-P", "O", "B-P", "O"]}
    for n in range(6)
]


def spans(*found):
    """A row of the text `New York, Ada` with these spans."""
    named = [dict(zip(("start", "end", "label"), span, strict=True)) for span in found]
    return {"text": "New York, Ada", "spans": named}


BAD = {
    "no list": (
        {"text": "x", "spans": "PER"},
        ["rows.jsonl:7 ('PER'): field 'spans' must be a list of spans", '[{"start": 0'],
    ),
    "no span": (
        {"text": "x", "spans": [[0, 1, "PER"]]},
        ["rows.jsonl:7 ([0, 1, 'PER']): field 'spans[0]' is no span"],
    ),
    "label that is no text": (
        spans((0, 3, 5)), ["rows.jsonl:7 (5): field 'spans[0].label' must be text", "the name of"],
    ),
    "out of range": (
        spans((0, 3, "PER"), (10, 14, "PER")),
        ["rows.jsonl:7 (10 to 14, the text has 13 characters): field 'spans[1]' lies outside",
         "count characters from 0"],
    ),
    "backwards": (spans((8, 4, "PER")), ["(8 to 4, the text", "lies outside the text"]),
    "offset that is text": (spans(("0", 3, "PER")), ["('0' to 3, the text", "lies outside"]),
    "offset that is a boolean": (spans((True, 3, "PER")), ["(true to 3", "lies outside"]),
    "empty span": (
        spans((4, 4, "PER")), ["rows.jsonl:7 (4 to 4): field 'spans[0]' is empty", "let end be"],
    ),
    "half a word": (
        spans((1, 8, "LOC")),
        ["rows.jsonl:7 (1 to 8: 'ew York'): field 'spans[0]' does not begin and end with words",
         "write start 0 and end 8"],
    ),
    "a space too many": (
        spans((0, 4, "LOC")), ["(0 to 4: 'New ')", "write start 0 and end 3"],
    ),
    "no word at all": (spans((3, 4, "LOC")), ["(3 to 4: ' ')", "remove spans that hold no word"]),
    "overlap": (
        spans((4, 8, "A"), (0, 8, "B")),
        ["(0 to 8: 'New York' and 4 to 8: 'York'): field 'spans' has spans that overlap"],
    ),
    "a kind with one row": (
        spans((0, 8, "CITY")),
        ["rows.jsonl:7 ('CITY'): field 'spans' holds a kind of entity that a single row has"],
    ),
    "empty text": ({"text": "", "spans": []}, ["field 'text' is empty"]),
}  # fmt: skip

BAD_TAGS = {
    "no list": ({"tokens": "a b", "tags": ["O"]}, ["('a b'): field 'tokens' must be a list of"]),
    "no tags": ({"tokens": ["a"], "tags": []}, ["([]): field 'tags' must be a list of tags"]),
    "other number": (
        {"tokens": ["a", "b"], "tags": ["O"]},
        ["rows.jsonl:7 (1 tags, 2 tokens): field 'tags' has another number of tags"],
    ),
    "numbers": ({"tokens": ["a"], "tags": [3]}, ["(3): field 'tags[0]' is no tag"]),
    "another scheme": ({"tokens": ["a"], "tags": ["S-P"]}, ["('S-P')", "is no tag", "B- and I-"]),
    "without a name": ({"tokens": ["a"], "tags": ["B-"]}, ["('B-')", "is no tag"]),
    "begins inside": (
        {"tokens": ["a", "b"], "tags": ["O", "I-P"]},
        ["rows.jsonl:7 (I-P after O): field 'tags[1]' continues an entity that has not begun",
         "begin with B- (IOB2)"],
    ),
    "changes inside": (
        {"tokens": ["a", "b"], "tags": ["B-P", "I-L"]}, ["(I-L after B-P)", "has not begun"],
    ),
    "empty token": ({"tokens": ["a", " "], "tags": ["O", "O"]}, ["field 'tokens[1]' is empty"]),
    "token that is a number": ({"tokens": [1], "tags": ["O"]}, ["'tokens[0]' must be text"]),
}  # fmt: skip


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def gather(tmp_path, content, test=None):
    files = [DataFile(tmp_path / "rows.jsonl", "rows.jsonl", TRAIN)]
    files[0].path.write_bytes(content)
    if test is not None:
        files.append(DataFile(tmp_path / "test.jsonl", "test.jsonl", TEST))
        files[1].path.write_bytes(test)
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"))
    possible = LAYOUTS[Task.TOKEN_CLASSIFICATION]
    return Gatherer(dataset, possible, tmp_path / "contents.arrow").gather(files)


def refused(tmp_path, rows, test=None):
    with pytest.raises(DataError) as caught:
        gather(tmp_path, lines(*rows), test=test)
    return caught.value.failure().sentence()


def contents(found):
    import pyarrow as pa

    with pa.OSFile(str(found.arrow), "rb") as source:
        table = pa.ipc.open_file(source).read_all()
    return [json.loads(content) for content in table.column(0).to_pylist()]


@pytest.mark.parametrize("name", BAD)
def test_spans_are_refused(tmp_path, name):
    row, expected = BAD[name]
    sentence = refused(tmp_path, [*GOOD, row])
    for part in expected:
        assert part in sentence, sentence


@pytest.mark.parametrize("name", BAD_TAGS)
def test_tags_are_refused(tmp_path, name):
    row, expected = BAD_TAGS[name]
    sentence = refused(tmp_path, [*TAGGED, row])
    for part in expected:
        assert part in sentence, sentence


def test_all_spans_of_all_rows_are_told_at_once(tmp_path):
    bad = [spans((0, 99, "A"), (1, 2, "A")), spans((5, 5, "A"))]
    sentence = refused(tmp_path, [*GOOD, *bad])
    assert "3 problems in the dataset" in sentence
    assert "rows.jsonl:7 (0 to 99" in sentence
    assert "rows.jsonl:8 (5 to 5)" in sentence


def test_a_kind_that_only_the_test_file_has_is_refused(tmp_path):
    sentence = refused(tmp_path, GOOD, test=lines(spans((0, 8, "CITY"))))
    assert "test.jsonl:1 ('CITY')" in sentence
    assert "holds a kind of entity that no training row has" in sentence
    assert "use some of: LOC, PER" in sentence


def test_rows_without_any_entity_teach_nothing(tmp_path):
    sentence = refused(tmp_path, [{"text": f"x {n}", "spans": []} for n in range(9)])
    assert "the training rows: field 'spans' has no row with a kind of entity" in sentence


def test_spans_become_words_with_tags(tmp_path):
    rows = [*GOOD, spans((10, 13, "PER"), (0, 8, "LOC")), {"text": "Nobody.", "spans": []}]
    found = gather(tmp_path, lines(*rows))
    assert found.layout is Layout.SPANS
    assert found.labels == ["LOC", "PER"]
    *_, york, nobody = contents(found)
    assert [york["text"][a:b] for a, b in york["words"]] == ["New", "York", ",", "Ada"]
    assert york["tags"] == ["B-LOC", "I-LOC", "O", "B-PER"]
    assert nobody["tags"] == ["O", "O"]
    assert found.label_ids.tolist() == [0] * 7 + [2]


def test_scripts_without_spaces_have_a_word_a_character(tmp_path):
    row = {"text": "私は東京へ", "spans": [{"start": 2, "end": 4, "label": "LOC"}]}
    found = gather(tmp_path, lines(*GOOD, row))
    assert contents(found)[-1]["tags"] == ["O", "O", "B-LOC", "I-LOC", "O"]


def test_tokens_become_a_text(tmp_path):
    found = gather(tmp_path, lines(*TAGGED), test=lines(TAGGED[0]))
    assert found.layout is Layout.TOKEN_TAGS
    assert found.labels == ["P"]
    first = contents(found)[0]
    assert first["text"] == "Ada Lovelace met Bo 0"
    assert first["words"][1] == [4, 12]
    assert found.parts.tolist()[-1] == TEST
