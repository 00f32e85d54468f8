"""Bad datasets: each is refused with the place, the value, the rule and what to do."""

import json

import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TEST, TRAIN

GOOD = [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(8)]


def lines(*rows):
    return "".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows).encode()


def gather(tmp_path, content, name="rows.jsonl", layouts=(Layout.LABELS,), test=None, **settings):
    files = [DataFile(tmp_path / name, name, TRAIN)]
    files[0].path.write_bytes(content)
    if test is not None:
        files.append(DataFile(tmp_path / "test.jsonl", "test.jsonl", TEST))
        files[1].path.write_bytes(test)
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **settings)
    return Gatherer(dataset, layouts, tmp_path / "contents.arrow").gather(files)


JSONL = {
    "broken JSON": (
        lines(GOOD[0], '{"text": "x", "label": \n', *GOOD[1:]),
        ["rows.jsonl:2", "is not valid JSON", "one JSON object a line"],
    ),
    "nested without end": (
        lines(*GOOD) + b"[" * 100_000 + b"\n",
        ["rows.jsonl:9 (nested too deeply)", "is not valid JSON"],
    ),
    "not an object": (
        lines(*GOOD, "[1, 2]\n"), ["rows.jsonl:9 ([1, 2])", "is not a JSON object"],
    ),
    "missing column": (
        lines(*[{"body": "x", "category": "a"}] * 3),
        ["field 'text' is missing", "columns seen: body, category", "dataset.columns.text: body",
         "field 'label' is missing", "dataset.columns.label: category"],
    ),
    "column missing in one row": (
        lines(*GOOD, {"text": "x"}), ["rows.jsonl:9", "field 'label' is missing"],
    ),
    "not UTF-8": (
        lines(*GOOD) + b'{"text": "caf\xe9", "label": "a"}\n',
        ["rows.jsonl:9", "byte 0xe9 at column 14", "is not UTF-8"],
    ),
    "UTF-16": (
        lines(*GOOD).decode().encode("utf-16"), ["is UTF-16 text", "unpack or convert it"],
    ),
    "empty text": (
        lines(*GOOD, {"text": "  ", "label": "a"}), ["rows.jsonl:9", "field 'text' is empty"],
    ),
    "text that is a number": (
        lines(*GOOD, {"text": 5, "label": "a"}), ["rows.jsonl:9 (5)", "'text' must be text"],
    ),
    "text that is null": (
        lines(*GOOD, {"text": None, "label": "a"}), ["rows.jsonl:9 (null)", "'text' must be text"],
    ),
    "half a surrogate": (
        lines(*GOOD, '{"text": "\\ud800", "label": "a"}\n'), ["rows.jsonl:9", "surrogate"],
    ),
    "empty label": (
        lines(*GOOD, {"text": "x", "label": ""}), ["rows.jsonl:9 ('')", "'label' has no value"],
    ),
    "label that is a fraction": (
        lines(*GOOD, {"text": "x", "label": 1.5}),
        ["rows.jsonl:9 (1.5)", "'label' must be text or a whole number"],
    ),
    "label that is a list": (
        lines(*GOOD, {"text": "x", "label": ["a"]}),
        ["rows.jsonl:9 (['a'])", "'label' must be text or a whole number"],
    ),
    "label that is a boolean": (
        lines(*GOOD, {"text": "x", "label": True}), ["rows.jsonl:9 (true)", "must be text or"],
    ),
    "one class": (
        lines(*[{"text": f"x{n}", "label": "a"} for n in range(9)]),
        ["has one class only", "at least one other class"],
    ),
    "class with one row": (
        lines(*GOOD, {"text": "x", "label": "lonely"}),
        ["rows.jsonl:9 ('lonely')", "class with a single row"],
    ),
    "label column that is free text": (
        lines(*[{"text": f"x{n}", "label": f"title {n}"} for n in range(40)]),
        ["40 different values in 40 rows", "dataset.columns.label"],
    ),
    "column twice in a row": (
        lines(*GOOD, '{"text": "x", "label": "a", "text": "y"}\n'),
        ["rows.jsonl:9: field 'text' stands twice in the row", "its own name"],
    ),
    "no rows": (b"\n\n", ["holds no rows"]),
    "gzip": (b"\x1f\x8b\x08\x00", ["is compressed with gzip"]),
    "neither": (b"hello\nworld\n", ["holds", "JSONL"]),
}  # fmt: skip

TEXT = {
    "missing column": (
        lines({"body": "x"}), ["field 'text' is missing", "dataset.columns.text: body"],
    ),
    "empty text and a number": (
        lines({"text": "good"}, {"text": " "}, {"text": 5}),
        ["2 problems", "rows.jsonl:2: field 'text' is empty", "rows.jsonl:3 (5)", "must be text"],
    ),
}  # fmt: skip

PAIR = {"prompt": "which?", "chosen": "this", "rejected": "that"}
PREFERENCES = {
    "missing column": (
        lines({"question": "which?", "winner": "this", "rejected": "that"}),
        ["field 'prompt' is missing", "dataset.columns.prompt: question",
         "field 'chosen' is missing", "dataset.columns.chosen: winner"],
    ),
    "column missing in one row": (
        lines(PAIR, {"prompt": "which?", "chosen": "this"}),
        ["rows.jsonl:2", "field 'rejected' is missing"],
    ),
    "empty and wrong answers": (
        lines(PAIR, PAIR | {"chosen": ""}, PAIR | {"rejected": None}, PAIR | {"prompt": ["x"]}),
        ["3 problems", "rows.jsonl:2: field 'chosen' is empty",
         "rows.jsonl:3 (null): field 'rejected' must be text",
         "rows.jsonl:4 (['x']): field 'prompt' must be text"],
    ),
    "no preference": (
        lines(PAIR, PAIR | {"rejected": "this"}),
        ["rows.jsonl:2 ('this'): field 'rejected' is the same as 'chosen'",
         "remove rows without a preference"],
    ),
}  # fmt: skip

CSV = {
    "ragged": (
        b"text,label\nx,a\ny\nz,b,c\n", ["rows.csv:3 (1 cells, header has 2)", "rows.csv:4"],
    ),
    "duplicate column": (b"text,label,text\nx,a,y\n", ["'text' stands twice in the header"]),
    "missing column": (
        b"sentence,label\nx,a\n", ["'text' is missing", "dataset.columns.text: sentence"],
    ),
    "unclosed quote": (b'text,label\nx,a\n"y,b\nz,a\n', ["rows.csv:3", "is not valid CSV"]),
    "not UTF-8": (b"text,label\nx,a\ncaf\xe9,b\n", ["rows.csv:3", "byte 0xe9"]),
    "empty cell": (b"text,label\nx,a\n,b\n", ["rows.csv:3", "'text' is empty"]),
    "header only": (b"text,label\n", ["rows.csv", "holds no rows"]),
}  # fmt: skip


@pytest.mark.parametrize("name", JSONL)
def test_jsonl_is_refused(tmp_path, name):
    content, expected = JSONL[name]
    if name == "neither":
        with pytest.raises(DataError) as caught:
            gather(tmp_path, content, name="rows")
        assert "is none of JSONL" in caught.value.message
        return
    with pytest.raises(DataError) as caught:
        gather(tmp_path, content)
    sentence = caught.value.failure().sentence()
    for part in expected:
        assert part in sentence, sentence


@pytest.mark.parametrize("name", TEXT)
def test_plain_texts_are_refused(tmp_path, name):
    content, expected = TEXT[name]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, content, layouts=(Layout.TEXT,))
    sentence = caught.value.failure().sentence()
    for part in expected:
        assert part in sentence, sentence


@pytest.mark.parametrize("name", PREFERENCES)
def test_preferences_are_refused(tmp_path, name):
    content, expected = PREFERENCES[name]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, content, layouts=(Layout.PREFERENCE,))
    sentence = caught.value.failure().sentence()
    for part in expected:
        assert part in sentence, sentence


@pytest.mark.parametrize("name", CSV)
def test_csv_is_refused(tmp_path, name):
    content, expected = CSV[name]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, content, name="rows.csv")
    sentence = caught.value.failure().sentence()
    for part in expected:
        assert part in sentence, sentence


def test_unknown_class_in_the_test_file_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        gather(tmp_path, lines(*GOOD), test=lines({"text": "x", "label": "c"}))
    sentence = caught.value.failure().sentence()
    assert "test.jsonl:1 ('c')" in sentence
    assert "no training row has" in sentence
    assert "use one of: a, b" in sentence


def test_all_kinds_are_told_at_once_with_their_counts(tmp_path):
    bad = [{"text": "", "label": "a"}] * 30 + [{"text": "x", "label": None}] * 2
    with pytest.raises(DataError) as caught:
        gather(tmp_path, lines(*GOOD, *bad))
    assert caught.value.message.startswith("32 problems in the dataset: ")
    assert "rows.jsonl:9, rows.jsonl:10, rows.jsonl:11 and 27 more" in caught.value.message
    assert "rows.jsonl:40: field 'label' has no value (null)" in caught.value.message
    assert len(caught.value.message) < 1500


def test_good_files_are_read_whole(tmp_path):
    content = (
        b"\xef\xbb\xbfid;text;label\r\n"
        + "".join(
            f'{n};"line one\nünicode, {n}";{" 10" if n % 2 else "9"}\r\n' for n in range(6)
        ).encode()
    )
    found = gather(tmp_path, content, name="rows.csv")
    assert found.rows == 6
    assert found.labels == ["9", "10"]
    assert found.label_ids.tolist() == [0, 1] * 3
    assert found.files[0]["reason"] == "header row with delimiter ';'"
    assert found.notes == ["rows.csv: 3 labels had spaces around them"]


def test_content_goes_before_the_name(tmp_path):
    found = gather(tmp_path, lines(*GOOD), name="rows.csv")
    assert found.files[0]["format"] == "JSONL"


def test_capitals_are_noted(tmp_path):
    rows = [{"text": f"t{n}", "label": ["Spam", "spam", "ham"][n % 3]} for n in range(9)]
    found = gather(tmp_path, lines(*rows))
    assert found.notes == ["classes 'Spam' and 'spam' differ only in capitals"]
