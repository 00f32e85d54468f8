"""A keyed queue: one worker a key, work collapsed while it waits, failures backed off per key.

It decides when a key is looked at, never what is done with it. A key that is added while it is
being processed is processed once more afterwards, so no change is missed and none is seen twice.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple


class Key(NamedTuple):
    """A FineTuneJob."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Priority(IntEnum):
    """What goes first when both wait."""

    CHANGE = 0
    SWEEP = 1


class WorkQueue:
    """The queue of one operator. Everything runs in one event loop, so nothing needs a lock."""

    def __init__(
        self,
        *,
        base: float = 0.2,
        cap: float = 300.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self._ready: tuple[deque[Key], deque[Key]] = (deque(), deque())
        self._dirty: dict[Key, Priority] = {}
        self._since: dict[Key, float] = {}
        self._processing: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, tuple[float, asyncio.TimerHandle]] = {}
        self._wakeup = asyncio.Event()

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Have the key looked at soon."""
        known = self._dirty.get(key)
        if known is not None and known <= priority:
            return
        self._dirty[key] = priority
        self._since.setdefault(key, asyncio.get_running_loop().time())
        if key not in self._processing:
            self._offer(key, priority)

    def add_after(self, key: Key, delay: float, priority: Priority = Priority.CHANGE) -> None:
        """Have the key looked at after a delay, or earlier if an earlier look is already due."""
        loop = asyncio.get_running_loop()
        when = loop.time() + delay
        pending = self._timers.get(key)
        if pending is not None:
            if pending[0] <= when:
                return
            pending[1].cancel()
        self._timers[key] = (when, loop.call_at(when, self._fire, key, priority))

    def add_failed(
        self, key: Key, *, at_least: float = 0.0, at_most: float = float("inf")
    ) -> float:
        """Have the key looked at again after its back-off, which doubles with every failure."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._cap, at_most, self._base * 2.0 ** min(failures, 32))
        delay = max(at_least, delay * (0.75 + 0.5 * self._jitter()))
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """The key is well again: its next failure starts from the shortest back-off."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key. Its pending wake-up is dropped: this look decides about the next one."""
        while True:
            for waiting in self._ready:
                while waiting:
                    key = waiting.popleft()
                    if key in self._dirty and key not in self._processing:
                        return self._take(key)
            self._wakeup.clear()
            await self._wakeup.wait()

    def done(self, key: Key) -> None:
        """The worker has finished with the key."""
        self._processing.discard(key)
        priority = self._dirty.get(key)
        if priority is not None:
            self._offer(key, priority)

    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._dirty)

    def oldest_age(self) -> float:
        """How long the longest waiting key has waited."""
        if not self._since:
            return 0.0
        return asyncio.get_running_loop().time() - min(self._since.values())

    def close(self) -> None:
        """Drop all timers, so that the loop can end."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _offer(self, key: Key, priority: Priority) -> None:
        self._ready[priority].append(key)
        self._wakeup.set()

    def _take(self, key: Key) -> Key:
        self._dirty.pop(key)
        self._since.pop(key, None)
        self._processing.add(key)
        pending = self._timers.pop(key, None)
        if pending is not None:
            pending[1].cancel()
        return key

    def _fire(self, key: Key, priority: Priority) -> None:
        self._timers.pop(key, None)
        self.add(key, priority)
