"""Sources and targets as token ids."""

import json

import numpy as np
import pyarrow as pa
import pytest

from finetune_api.errors import UserError
from finetune_trainer.data.encode import lengths
from finetune_trainer.data.pairs import PairEncoder

END, LANGUAGE = 1, 9


class Tokenizer:
    """A token a letter. ``shape`` says how a target looks around its letters."""

    def __init__(self, shape="end", eos=END):
        self.shape, self.eos_token_id = shape, eos

    def __call__(self, text=None, text_target=None, max_length=None, **options):
        if text_target is not None and self.shape == "no language":
            raise KeyError(None)
        before, after = [], [END]
        if text_target is not None:
            before, after = {
                "end": ([], [END]), "bare": ([], []), "first": ([LANGUAGE], [END]),
                "last": ([], [END, LANGUAGE]),
            }[self.shape]  # fmt: skip
        room = None if max_length is None else max_length - len(before) - len(after)
        letters = [[ord(letter) for letter in one][:room] for one in text or text_target]
        return {"input_ids": [[*before, *ids, *after] for ids in letters]}


def encoded(shape="end", cut=None, source="abc", target="xyz"):
    encoder = PairEncoder(Tokenizer(shape), "s3://m/")
    content = json.dumps([source, target])
    batch = encoder.encode([content])
    if cut is not None:
        batch = encoder.cut(batch, np.array([0]), pa.array([content]), cut)
    (row,) = batch.to_pylist()
    return row["input_ids"], row["labels"]


XYZ = [ord(letter) for letter in "xyz"]


@pytest.mark.parametrize(
    ("shape", "labels"),
    [("end", [*XYZ, END]), ("bare", [*XYZ, END]), ("first", [LANGUAGE, *XYZ, END]),
     ("last", [*XYZ, END, LANGUAGE])],
)  # fmt: skip
def test_targets_are_tokenised_as_targets_and_end(shape, labels):
    assert encoded(shape) == ([97, 98, 99, END], labels)


@pytest.mark.parametrize(
    ("shape", "labels"),
    [("end", [120, 121, END]), ("bare", [120, 121, END]), ("first", [LANGUAGE, 120, END]),
     ("last", [120, END, LANGUAGE])],
)  # fmt: skip
def test_what_is_cut_still_ends(shape, labels):
    assert encoded(shape, cut=3) == ([97, 98, END], labels)


def test_a_row_is_as_long_as_its_longer_side():
    encoder = PairEncoder(Tokenizer(), "s3://m/")
    batch = encoder.encode([json.dumps(["abcdef", "x"]), json.dumps(["a", "xyzxyz9"])])
    assert lengths(batch).tolist() == [7, 8]


def test_a_tokenizer_that_could_not_end_or_begin_a_target_is_refused():
    with pytest.raises(UserError, match="no end-of-text token"):
        PairEncoder(Tokenizer(eos=None), "s3://m/")
    with pytest.raises(UserError, match="the tokenizer cannot write a target") as caught:
        PairEncoder(Tokenizer("no language"), "s3://m/")
    assert "set src_lang and tgt_lang" in caught.value.failure().sentence()
