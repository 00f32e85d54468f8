"""Properties of the split, of duplicates and leaks, and of the order of training rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.errors import DataError
from finetune_trainer.batches import GlobalBatches, padding_efficiency
from finetune_trainer.data.dedup import conflicting, leaking, repeated
from finetune_trainer.data.split import TEST, TRAIN, VALIDATION, held_out_size, split

FRACTIONS = {VALIDATION: 0.05, TEST: 0.1}
label_arrays = st.lists(st.integers(10, 200), min_size=2, max_size=8).map(
    lambda counts: np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
)


@given(label_arrays, st.integers(0, 2**31 - 1))
def test_split_is_exact_stratified_and_repeatable(labels, seed):
    parts = split(labels.astype(np.int32), FRACTIONS, seed)
    assert (parts == split(labels.astype(np.int32), FRACTIONS, seed)).all()
    classes = int(labels.max()) + 1
    assert len(parts) == len(labels)
    for part, share in FRACTIONS.items():
        size = held_out_size(len(labels), classes, share)
        assert (parts == part).sum() == size
        for number in range(classes):
            exact = (labels == number).sum() * size / len(labels)
            assert abs((parts[labels == number] == part).sum() - exact) <= 1
    assert set(labels[parts == TRAIN]) == set(range(classes))


def test_another_seed_is_another_split():
    labels = np.repeat(np.arange(3), 50).astype(np.int32)
    assert (split(labels, FRACTIONS, 1) != split(labels, FRACTIONS, 2)).any()


def test_class_of_two_rows_keeps_one_for_training():
    labels = np.array([0] * 50 + [1] * 2, np.int32)
    for seed in range(20):
        parts = split(labels, FRACTIONS, seed)
        assert (parts[labels == 1] == TRAIN).sum() >= 1


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="4 rows of 2 classes are too few"):
        split(np.array([0, 0, 1, 1], np.int32), FRACTIONS, 0)


def digests(*texts):
    return np.frombuffer(b"".join(t.ljust(16).encode() for t in texts), "V16")


def test_duplicates_leaks_and_conflicts():
    texts, whole = digests("a", "b", "a", "a", "b"), digests("a0", "b0", "a0", "a1", "b0")
    assert repeated(whole).tolist() == [False, False, True, False, True]
    assert conflicting(texts, whole) == 1
    parts = np.array([TRAIN, TRAIN, TEST, TRAIN, VALIDATION], np.int8)
    assert leaking(texts, parts).tolist() == [True, True, False, True, False]
    # A duplicate that was dropped before holds nothing out.
    assert not leaking(texts, np.array([TRAIN, TRAIN, -1, TRAIN, -1], np.int8)).any()


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 2), st.integers(-1, 2)), min_size=1
    )
)
def test_duplicates_and_leaks_as_a_plain_loop_finds_them(rows):
    texts = digests(*(text for text, _, _ in rows))
    whole = digests(*(f"{text}{label}" for text, label, _ in rows))
    parts = np.array([part for _, _, part in rows], np.int8)
    pairs = [(text, label) for text, label, _ in rows]
    assert repeated(whole).tolist() == [p in pairs[:n] for n, p in enumerate(pairs)]
    several = {t for t, _ in pairs if len({label for other, label in pairs if other == t}) > 1}
    assert conflicting(texts, whole) == len(several)
    held_out = {text for text, _, part in rows if part > TRAIN}
    expected = [part == TRAIN and text in held_out for text, _, part in rows]
    assert leaking(texts, parts).tolist() == expected


def order(lengths, **options):
    settings = {"global_batch": 8, "steps": 30, "seed": 1} | options
    return GlobalBatches(np.array(lengths, np.int32), **settings)


@given(st.lists(st.integers(1, 60), min_size=3, max_size=120), st.integers(1, 40))
def test_every_row_is_seen_equally_often(lengths, steps):
    rows = order(lengths, steps=steps)
    seen = list(rows)
    assert len(seen) == len(rows) == steps * 8
    assert seen == list(rows)
    if not rows.grouped:
        counts = np.bincount(seen, minlength=len(lengths))
        assert counts.max() - counts.min() <= 1


def test_grouping_saves_padding_and_loses_no_row():
    rng = np.random.default_rng(0)
    lengths = np.where(rng.random(400) < 0.5, 10, 200).astype(np.int32)
    assert padding_efficiency(lengths, 8, 0) < 0.7
    rows = order(lengths, steps=50)
    assert rows.grouped
    batches = lengths[np.array(list(rows))].reshape(-1, 8)
    assert batches.sum() / (batches.max(axis=1).sum() * 8) > 0.95
    assert sorted(rows) == list(range(400))
    assert len(set(map(int, batches.max(axis=1)[:10]))) == 2


def test_rows_of_one_length_are_not_grouped():
    assert not order([7] * 50).grouped
