"""Work in a process of its own: what comes back of it."""

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from finetune_api.errors import DataError, OutOfMemoryError
from finetune_trainer.apart import apart


def test_the_result_comes_from_another_process() -> None:
    assert apart(os.getpid, "work") != os.getpid()


def test_an_error_keeps_its_sentence_and_remedy() -> None:
    def work() -> None:
        raise DataError("3 problems", "mend them")

    with pytest.raises(DataError, match="3 problems") as caught:
        apart(work, "work")
    assert caught.value.remedy == "mend them"


def test_a_killed_process_most_likely_lacked_memory() -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"reading rows was killed \(exit code -9\)"
    ) as caught:
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL), "reading rows")
    assert "resources.prepare.memory" in caught.value.remedy


class Left(BaseException):
    """As prepare leaves on SIGTERM."""


def test_the_process_ends_when_this_one_is_asked_to_leave() -> None:
    def leave(*_: Any) -> None:
        raise Left

    def work() -> None:
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()

    others = psutil.Process().children()
    before: Callable[..., Any] = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(Left):
            apart(work, "work")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert psutil.Process().children() == others
