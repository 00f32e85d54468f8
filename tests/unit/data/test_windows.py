"""Windows of long contexts: as the tokenizer itself would cut them, with answers where they are."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from finetune_api.errors import UserError
from finetune_trainer.data.windows import OVERLAP, WindowEncoder, lost, split

WORDS = [f"w{number}" for number in range(60)]


def tokenizer():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    core = Tokenizer(models.WordLevel({t: n for n, t in enumerate(tokens)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]")


TOKENIZER = tokenizer()


def content(question, context, first=None, last=None):
    """A row whose answer is the context's words from ``first`` to ``last``."""
    text, answers, starts = " ".join(context), [], []
    if first is not None:
        starts = [len(" ".join([*context[:first], ""]))]
        answers = [" ".join(context[first : last + 1])]
    return json.dumps([" ".join(question), text, answers, starts])


def windows(*contents, max_length):
    encoder = WindowEncoder(TOKENIZER, "s3://m/")
    batch, origins = split(encoder.encode(list(contents)), max_length)
    return batch.to_pylist(), origins.tolist(), lost(batch).tolist()


@given(st.integers(1, 6), st.integers(1, 60), st.integers(16, 40), st.data())
def test_windows_are_those_of_the_tokenizer_and_point_at_the_answer(asked, size, most, data):
    question, context = WORDS[:asked], data.draw(st.permutations(WORDS))[:size]
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, min(size - 1, first + 20)))
    rows, origins, useless = windows(content(question, context, first, last), max_length=most)
    room = most - asked - 3
    usual = TOKENIZER(
        " ".join(question), " ".join(context), truncation="only_second", max_length=most,
        stride=min(most // OVERLAP, room // 2), return_overflowing_tokens=True,
        return_token_type_ids=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    assert [row["input_ids"] for row in rows] == usual["input_ids"]
    assert [row["segments"] for row in rows] == usual["token_type_ids"]
    assert [list(zip(row["starts"], row["ends"], strict=True)) for row in rows] == (
        usual["offset_mapping"]
    )
    assert origins == [0] * len(rows)
    wanted, held = context[first : last + 1], 0
    for row in rows:
        words = TOKENIZER.convert_ids_to_tokens(row["input_ids"][row["first"] : row["last"] + 1])
        has_it = any(words[at : at + len(wanted)] == wanted for at in range(len(words)))
        start, end = row["labels"]
        held += has_it
        if has_it:
            ids = row["input_ids"][start : end + 1]
            assert TOKENIZER.convert_ids_to_tokens(ids) == wanted
        else:
            assert start in (0, -1)
    assert useless == [held == 0] * len(rows)
    assert [bool(row["document"]) for row in rows] == [True] + [False] * (len(rows) - 1)


def test_rows_are_numbered_as_they_come_and_keep_their_number():
    encoder = WindowEncoder(TOKENIZER, "s3://m/")
    long, short = content(["w1"], WORDS), content(["w1"], WORDS[:3])
    first, second = encoder.encode([short, long]), encoder.encode([long])
    assert first.column("question").to_pylist() == [0, 1]
    batch, origins = split(second, 20)
    assert set(batch.column("question").to_pylist()) == {2}
    assert origins.tolist() == [0] * batch.num_rows
    cut = encoder.cut(first, np.array([1]), pa.array([]), 20)
    assert cut.column("question").to_pylist() == [0, 1]
    assert [len(ids) for ids in cut.column("input_ids").to_pylist()] == [7, 20]


def test_a_question_without_answer_points_at_the_first_token_everywhere():
    rows, _, useless = windows(content(["w1"], WORDS), max_length=20)
    assert {tuple(row["labels"]) for row in rows} == {(0, 0)}
    assert not any(row["has_answer"] for row in rows)
    assert not any(useless)


def test_a_question_that_leaves_no_room_is_lost():
    rows, origins, useless = windows(
        content(WORDS[:30], WORDS[:10], 1, 1), content(["w1"], WORDS[:4], 1, 1), max_length=32
    )
    assert useless == [True, False]
    assert origins == [0, 1]
    assert len(rows[0]["input_ids"]) == 32


def test_an_answer_without_tokens_is_lost():
    row = json.dumps(["w1", "w2   w3", ["  "], [3]])
    _, _, useless = windows(row, max_length=32)
    assert useless == [True]


def test_a_tokenizer_that_does_not_know_places_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(UserError, match="s3://m/: the tokenizer does not tell where tokens stand"):
        WindowEncoder(Slow(), "s3://m/")


def test_an_answer_that_ends_behind_a_window_is_only_in_the_next():
    rows, _, useless = windows(content(["w1"], WORDS, 14, 16), max_length=20)
    assert rows[0]["last"] == 18  # sixteen words after [CLS], the question and [SEP]
    assert [row["labels"] for row in rows[:3]] == [[0, 0], [7, 9], [0, 0]]
    assert not any(useless)
