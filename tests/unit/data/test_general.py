"""The general set: which rows it has, what is wrong with them, and what is never measured."""

import json

import pytest

from finetune_api.dataset import Dataset, HeldOutSource, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, Objective, Task, general_layouts, learnt
from finetune_trainer.data.checks import DROPPED
from finetune_trainer.data.gather import DataFile
from finetune_trainer.data.rows import read
from finetune_trainer.data.split import GENERAL, TEST, TRAIN

CLASSES = [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(40)]
PAIRS = [{"prompt": f"what {n}", "completion": f"{n}"} for n in range(40)]


def gathered(folder, train, general, task, objective=None, name="general.jsonl", **settings):
    """Rows of a training file and a file of the general set."""
    files = []
    for file, part, content in (("train.jsonl", TRAIN, train), (name, GENERAL, general)):
        path = folder / file
        if not isinstance(content, str):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_text(content)
        files.append(DataFile(path, file, part))
    elsewhere = HeldOutSource(uri="s3://data/held-out")  # so that all rows are for training
    dataset = Dataset(
        train=TrainSource(uri="s3://data/rows"), validation=elsewhere, test=elsewhere, **settings
    )
    return read(
        files, dataset, LAYOUTS[learnt(task, objective)], seed=3, scratch=folder / "scratch",
        general_layouts=general_layouts(task, objective),
    )  # fmt: skip


def test_rows_are_no_part_of_what_is_split(tmp_path):
    general = [{"text": f"other {n}", "label": "ba"[n % 2]} for n in range(5)]
    found = gathered(tmp_path, CLASSES, general, Task.TEXT_CLASSIFICATION)
    assert len(found.parts) == 40
    assert found.gathered.labels == ["a", "b"]
    assert found.general.gathered.labels == ["a", "b"]
    assert found.general.gathered.label_ids.tolist() == [1, 0, 1, 0, 1]
    assert found.general.parts.tolist() == [TEST] * 5
    assert found.general.gathered.files[0]["part"] == "general"
    assert [file["part"] for file in found.gathered.files] == ["train"]


def test_rows_that_stand_twice_or_are_learnt_are_left_out(tmp_path):
    general = [{"text": "new", "label": "a"}] * 2 + [{"text": "row 5", "label": "a"}]
    found = gathered(tmp_path, CLASSES, general, Task.TEXT_CLASSIFICATION)
    assert found.general.parts.tolist() == [TEST, DROPPED, DROPPED]
    assert found.general.dropped == {"duplicate": 1, "trainedOn": 1}


def test_nothing_but_training_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="all 20 rows of the general set are training rows"):
        gathered(tmp_path, CLASSES, CLASSES[:20], Task.TEXT_CLASSIFICATION)


@pytest.mark.parametrize("layout", ["Text", "PromptCompletion", "Messages", "lines"])
@pytest.mark.parametrize("objective", [None, Objective.DPO])
def test_a_language_model_takes_texts_and_answers_whatever_it_learns(tmp_path, layout, objective):
    rows = {
        "Text": [{"text": "one text"}, {"text": "another"}],
        "PromptCompletion": [{"prompt": "a", "completion": "b"}],
        "Messages": [{"messages": [{"role": "user", "content": "a"},
                                   {"role": "assistant", "content": "b"}]}],
        "lines": "a plain text\nof two lines\n",
    }[layout]  # fmt: skip
    train = PAIRS
    if objective is Objective.DPO:
        train = [{"prompt": f"{n}", "chosen": "a", "rejected": "b"} for n in range(40)]
    name = "general.txt" if layout == "lines" else "general.jsonl"
    found = gathered(tmp_path, train, rows, Task.TEXT_GENERATION, objective, name)
    assert found.general.gathered.layout == ("Text" if layout == "lines" else layout)
    assert found.general.parts.tolist() == [TEST] * (2 if layout == "Text" else 1)


BAD = {
    "a class of its own": ({"text": "x", "label": "c"}, "is a class that no training row has"),
    "no text": ({"text": "", "label": "a"}, "is empty"),
    "another column": ({"txt": "x", "label": "a"}, "is missing"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_rows_are_told_by_file_and_line_beside_those_of_other_files(tmp_path, what):
    row, rule = BAD[what]
    good = {"text": "good", "label": "a"}
    with pytest.raises(DataError) as caught:
        gathered(
            tmp_path, [*CLASSES, {"text": "y", "label": 1.5}], [good, row],
            Task.TEXT_CLASSIFICATION,
        )  # fmt: skip
    told = caught.value.failure().message
    assert "general.jsonl:2" in told, told
    assert rule in told, told
    assert "train.jsonl:41" in told, told


def test_bad_texts_of_a_language_model_are_told(tmp_path):
    general = [{"text": "fine"}, {"text": 3}, {"text": ""}]
    with pytest.raises(DataError) as caught:
        gathered(tmp_path, PAIRS, general, Task.TEXT_GENERATION)
    told = caught.value.failure().message
    assert "general.jsonl:2" in told, told
    assert "general.jsonl:3" in told, told
