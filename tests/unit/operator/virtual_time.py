"""An event loop whose clock jumps to the next thing that is due: minutes pass in milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Skipping(selectors.DefaultSelector):
    """Waits for nothing, and tells how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing will ever happen again"
        self.moment += max(0.0, timeout)
        return super().select(0)


def _loop() -> asyncio.AbstractEventLoop:
    selector = _Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.moment  # type: ignore[method-assign]
    return loop


def in_virtual_time(story: Coroutine[Any, Any, None]) -> None:
    """Run a story; its sleeps take no time."""
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(story)
