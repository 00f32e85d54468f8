"""Prompts that a model answers by itself: what is read, and each bad row with its sentence."""

import json

import numpy as np
import pyarrow as pa
import pytest

from finetune_api.dataset import Columns, Dataset, TrainSource
from finetune_api.errors import DataError, UserError
from finetune_api.learning import LAYOUTS, Layout, Objective
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.max_length import room_left
from finetune_trainer.data.prompts import PromptEncoder
from finetune_trainer.data.split import TRAIN


def gather(tmp_path, *rows, **settings):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **settings)
    gatherer = Gatherer(dataset, LAYOUTS[Objective.GRPO], tmp_path / "contents.arrow")
    return gatherer.gather([DataFile(path, "rows.jsonl", TRAIN)])


def contents(found):
    with pa.OSFile(str(found.arrow)) as file:
        return [json.loads(row) for row in pa.ipc.open_file(file).read_all()["content"].to_pylist()]


def test_answers_are_read_where_they_are(tmp_path):
    found = gather(tmp_path, {"prompt": "q", "completion": "a"})
    assert (found.layout, contents(found)) == (Layout.PROMPT_COMPLETION, [["q", "a"]])


@pytest.mark.parametrize("settings", [{}, {"layout": Layout.PROMPT}])
def test_prompts_may_stand_alone(tmp_path, settings):
    found = gather(tmp_path, {"prompt": "q", "topic": "t"}, {"prompt": "r"}, **settings)
    assert (found.layout, contents(found)) == (Layout.PROMPT, [["q"], ["r"]])


def test_answers_may_be_left_out_of_sight(tmp_path):
    found = gather(tmp_path, {"prompt": "q", "completion": "a"}, layout=Layout.PROMPT)
    assert contents(found) == [["q"]]


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    bad = [{"prompt": "q"}, {"prompt": " "}, {"prompt": 5}, {"text": "q"}]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, *bad, layout=Layout.PROMPT)
    sentence = caught.value.failure().sentence()
    for part in (
        "3 problems",
        "rows.jsonl:2: field 'prompt' is empty",
        "rows.jsonl:3 (5): field 'prompt' must be text",
        "rows.jsonl:4 (columns seen: text): field 'prompt' is missing",
    ):
        assert part in sentence, sentence


def test_a_prompt_under_another_name(tmp_path):
    found = gather(tmp_path, {"question": "q"}, columns=Columns(prompt="question"))
    assert contents(found) == [["q"]]


class Tokenizer:
    eos_token_id = 9

    def __call__(self, texts, **_):
        return {"input_ids": [[*map(int, text), 9] for text in texts]}


def test_a_prompt_has_no_end_and_a_long_one_loses_its_beginning():
    encoder = PromptEncoder(Tokenizer(), "s3://m/")
    batch = encoder.encode([json.dumps(["1234", "yes"]), json.dumps(["5"])])
    assert batch.to_pylist() == [
        {"input_ids": [1, 2, 3, 4], "reference": "yes"}, {"input_ids": [5], "reference": ""},
    ]  # fmt: skip
    cut = encoder.cut(batch, np.array([0]), pa.array([]), 3)
    assert cut.to_pylist() == [
        {"input_ids": [2, 3, 4], "reference": "yes"}, {"input_ids": [5], "reference": ""},
    ]  # fmt: skip


def test_room_for_a_prompt():
    assert room_left(64, 63) == 1
    with pytest.raises(UserError, match=r"maxNewTokens 64 leaves no room .* takes 64 tokens"):
        room_left(64, 64)
