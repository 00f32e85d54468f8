"""The best answer over windows is the one that trying every span finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.evaluate.extract import BEST, NO_ANSWER, Limits, Window, answers


def window(question, places):
    starts = np.array(places, np.int64)
    return Window(question, starts, starts + 1)


def tried(windows, scores, limits):
    """Every span of every window."""
    found, none = {}, {}
    for each, values in zip(windows, scores, strict=True):
        for a in range(len(each.starts)):
            for b in range(a, min(len(each.starts), a + limits.longest)):
                score = float(values[1 + a, 0] + values[1 + b, 1])
                found.setdefault(each.question, []).append((score, each.starts[a], each.ends[b]))
        none.setdefault(each.question, []).append(float(values[0].sum()))
    return {
        q: NO_ANSWER if limits.may_be_none and min(none[q]) > max(spans)[0] else max(spans)[1:]
        for q, spans in found.items()
    }


@given(
    st.lists(st.integers(1, BEST), min_size=1, max_size=5), st.integers(1, 8), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_nothing_better_is_overlooked(sizes, longest, may_be_none, seed):
    rng = np.random.default_rng(seed)
    given_windows = [window(n // 2, np.arange(size) * 3 + 7 * n) for n, size in enumerate(sizes)]
    scores = [rng.normal(size=(size + 1, 2)).astype(np.float32) for size in sizes]
    limits = Limits(longest, may_be_none)
    assert answers(given_windows, scores, limits) == tried(given_windows, scores, limits)


def test_the_surest_window_decides_and_no_answer_only_where_it_may_be():
    windows = [window(4, [0, 5]), window(4, [5, 9])]
    scores = [np.array(v, np.float32) for v in (
        [[9, 9], [1, 0], [0, 1]], [[1, 1], [0, 0], [3, 3]],
    )]  # fmt: skip
    assert answers(windows, scores, Limits(5, True)) == {4: (9, 10)}
    scores[1][0] = 4
    assert answers(windows, scores, Limits(5, True)) == {4: NO_ANSWER}
    assert answers(windows, scores, Limits(5, False)) == {4: (9, 10)}


def test_equal_scores_take_the_first_and_the_shortest():
    assert answers([window(0, [0, 2, 4])], [np.zeros((4, 2), np.float32)], Limits(3, False)) == {
        0: (0, 1)
    }


def test_ends_before_all_starts_leave_a_single_token():
    size = 2 * BEST
    scores = np.zeros((size + 1, 2), np.float32)
    scores[1 + BEST :, 0] = scores[1 : 1 + BEST, 1] = 5.0
    (span,) = answers([window(0, range(size))], [scores], Limits(4, False)).values()
    assert span[1] == span[0] + 1


def test_a_window_without_context_has_no_answer():
    empty = window(1, [])
    assert answers([empty], [np.zeros((1, 2), np.float32)], Limits(3, False)) == {1: NO_ANSWER}
