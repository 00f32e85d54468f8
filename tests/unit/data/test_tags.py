"""Tags at the first tokens of words, and F1 of spans as seqeval gives it."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from finetune_api.errors import UserError
from finetune_trainer.data.tags import TagEncoder, tag_names
from finetune_trainer.evaluate import spans

PIECES = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "love", "##lace", "##ly", "ada", "met", ".", "'"]


def wordpiece():
    core = Tokenizer(models.WordPiece({p: n for n, p in enumerate(PIECES)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]")


def byte_level():
    """Every byte is a token, and a space belongs to the word after it where merged."""
    space = "\u0120"
    letters = [*"abcdelmotvy.", space, f"{space}m", f"{space}l"]
    core = Tokenizer(
        models.BPE({t: n for n, t in enumerate(letters)}, [(space, "m"), (space, "l")])
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="a")


def content(text, words, tags):
    return json.dumps({"text": text, "words": words, "tags": tags})


ADA = content("ada lovelace met .", [(0, 3), (4, 12), (13, 16), (17, 18)], ["B-P", "I-P", "O", "O"])


def labels(encoder, *contents):
    return encoder.encode(list(contents)).column("labels").to_pylist()


def test_only_first_subwords_carry_a_tag():
    encoder = TagEncoder(wordpiece(), ["P"], "s3://m/")
    assert tag_names(["L", "P"]) == ["O", "B-L", "I-L", "B-P", "I-P"]
    assert labels(encoder, ADA) == [[-100, 1, 2, -100, 0, 0, -100]]
    assert encoder.notes() == []


def test_a_token_that_begins_with_a_space_belongs_to_the_word_after_it():
    encoder = TagEncoder(byte_level(), ["P"], "s3://m/")
    text = "ada met ly."
    row = content(text, [(0, 3), (4, 7), (8, 10), (10, 11)], ["B-P", "O", "B-P", "O"])
    (found,) = labels(encoder, row)
    assert found == [1, -100, -100, 0, -100, -100, 1, -100, 0]


def test_words_without_a_token_of_their_own_are_counted():
    encoder = TagEncoder(wordpiece(), ["P"], "s3://m/")
    row = content("lovelace", [(0, 4), (4, 8)], ["B-P", "B-P"])
    assert labels(encoder, row) == [[-100, 1, 1, -100]]
    row = content("ada", [(0, 1), (1, 3)], ["B-P", "B-P"])
    assert labels(encoder, row) == [[-100, 1, -100]]
    assert encoder.notes() == ["1 words of entities have no token of their own"]


def test_long_rows_are_cut_with_their_tags():
    encoder = TagEncoder(wordpiece(), ["P"], "s3://m/")
    batch = encoder.encode([ADA, ADA])
    cut = encoder.cut(batch, np.array([1]), pa.array([ADA, ADA]), 3)
    assert cut.column("labels").to_pylist() == [[-100, 1, 2, -100, 0, 0, -100], [-100, 1, -100]]
    assert cut.column("input_ids").to_pylist()[1] == [1, 7, 2]
    assert encoder.notes() == ["1 words of entities stand after maxLength and were cut"]


def test_a_tokenizer_without_offsets_is_refused():
    tokenizer = type("Slow", (), {"is_fast": False})()
    with pytest.raises(UserError, match="does not tell where tokens"):
        TagEncoder(tokenizer, ["P"], "s3://m/")


def test_f1_is_what_seqeval_says():
    from seqeval.metrics import f1_score

    rng = random.Random(3)
    tags = tag_names(["A", "B", "C"])
    truth, told = (
        [rng.choices(tags, [5, 3, 3, 1, 1, 1, 1], k=rng.randint(1, 9)) for _ in range(40)]
        for _ in range(2)
    )
    told = [
        [b if rng.random() < 0.3 else a for a, b in zip(row, (rng.choices(tags, k=len(row))),
         strict=True)] for row in truth
    ]  # fmt: skip
    counts = spans.counts(truth, told, ["A", "B", "C"])
    for rows in (np.arange(40), np.array([3, 3, 17, 20]), np.array([0])):
        drawn = [truth[row] for row in rows], [told[row] for row in rows]
        assert counts.micro(rows) == pytest.approx(f1_score(*drawn, average="micro"))
        assert counts.macro(rows) == pytest.approx(f1_score(*drawn, average="macro"))
    assert 0.2 < counts.micro(np.arange(40)) < 0.9
    assert counts.by_row().max() == 1.0
