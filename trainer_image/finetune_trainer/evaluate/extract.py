"""From scores of tokens to the answer of a question, over all windows of its context.

As in Devlin et al. 2019 (arXiv:1810.04805): an answer scores as much as its first token as a start
and its last as an end. No answer scores as the first token of the window that is surest of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BEST = 20
"""Starts and ends of a window that are looked at."""
NO_ANSWER = (-1, -1)

Scores = NDArray[np.float32]
Span = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A stretch of a context: the question it belongs to, and the places of its context tokens in
    characters."""

    question: int
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class Limits:
    """What an answer may be: at most ``longest`` tokens, and none at all if ``may_be_none``."""

    longest: int
    may_be_none: bool


def answers(windows: Iterable[Window], scores: Iterable[Scores], limits: Limits) -> dict[int, Span]:
    """The best answer of every question, in characters of its context, or NO_ANSWER.

    ``scores`` [1 + context tokens, 2] of each window: start and end, the first token's first.
    """
    best: dict[int, tuple[float, Span]] = {}
    none: dict[int, float] = {}
    for window, found in zip(windows, scores, strict=True):
        score, span = _best(window, found[1:], limits.longest)
        before = best.get(window.question)
        if before is None or score > before[0]:
            best[window.question] = score, span
        least = none.get(window.question, np.inf)
        none[window.question] = min(least, float(found[0].sum()))
    return {
        question: NO_ANSWER if limits.may_be_none and none[question] > score else span
        for question, (score, span) in best.items()
    }


def _best(window: Window, scores: Scores, longest: int) -> tuple[float, Span]:
    """The best span of a window and its score. Of equal ones the first, then the shortest."""
    if not len(scores):
        return -np.inf, NO_ANSWER
    starts, ends = (np.argsort(-scores[:, side], kind="stable")[:BEST] for side in (0, 1))
    length = ends[None] - starts[:, None] + 1
    both = scores[starts, 0][:, None] + scores[ends, 1][None]
    allowed = (length >= 1) & (length <= longest)
    if not allowed.any():
        # None of the best starts stands before one of the best ends: a single token, then.
        at = int(scores.sum(axis=1).argmax())
        return float(scores[at].sum()), (int(window.starts[at]), int(window.ends[at]))
    both = np.where(allowed, both, -np.inf)
    ranked = np.lexsort((length.ravel(), np.repeat(starts, len(ends)), -both.ravel()))
    row, column = divmod(int(ranked[0]), len(ends))
    span = int(window.starts[starts[row]]), int(window.ends[ends[column]])
    return float(both[row, column]), span
