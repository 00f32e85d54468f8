"""Rows that models are examined by: what a model makes of them, and how two of these compare."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from finetune_trainer.evaluate.compare import Comparison


@dataclass(frozen=True)
class Exam:
    """``answer(model)`` is what a model makes of the rows, on every rank (Stopped when one is asked
    to stop); ``compare(base, tuned)`` takes two of these."""

    answer: Callable[[Any], NDArray[Any]]
    compare: Callable[[NDArray[Any], NDArray[Any]], Comparison]
