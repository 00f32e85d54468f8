"""Looks at running gangs: GET index 0's /progress, every few seconds, with narrow limits.

The pod is a tenant's: its answer is bounded, never followed elsewhere, and read as a document or
not at all. A look that fails changes nothing; the last good report stays.
"""

import asyncio
import json
import random
from collections.abc import Callable
from typing import NamedTuple

import aiohttp

from finetune_api.progress import ProgressReport
from finetune_operator.metrics import Metrics
from finetune_operator.workqueue import Key

TIMEOUT = 2.0
LIMIT = 64 * 1024


class Target(NamedTuple):
    """A pod to look at. A replacement has another uid, and its report starts from nothing."""

    pod_uid: str
    url: str


class Puller:
    """Follows one pod for each running job."""

    def __init__(self, interval: float, metrics: Metrics, on_news: Callable[[Key], None]) -> None:
        self._interval = interval
        self._metrics = metrics
        self._on_news = on_news
        self._targets: dict[Key, Target] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._reports: dict[Key, ProgressReport] = {}
        self._session: aiohttp.ClientSession | None = None

    def follow(self, key: Key, target: Target | None) -> ProgressReport | None:
        """Follow this pod from now on, or nobody; the last report of it."""
        if self._targets.get(key) != target:
            self.forget(key)
            if target is not None:
                self._targets[key] = target
                self._tasks[key] = asyncio.create_task(self._follow(key, target))
        return self._reports.get(key)

    def forget(self, key: Key) -> None:
        """Stop following."""
        self._targets.pop(key, None)
        self._reports.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop following everybody."""
        for key in list(self._targets):
            self.forget(key)
        if self._session is not None:
            await self._session.close()

    async def _follow(self, key: Key, target: Target) -> None:
        while True:
            report = await self._pull(target.url)
            before = self._reports.get(key)
            if report is not None and self._targets.get(key) == target:
                self._reports[key] = report
                if before is None or turning_points(before) != turning_points(report):
                    self._on_news(key)
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311

    async def _pull(self, url: str) -> ProgressReport | None:
        try:
            report = ProgressReport.read(json.loads(await self._fetch(url)))
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._metrics.progress_pulled("unreachable")
            return None
        except (ValueError, AttributeError, RecursionError):
            self._metrics.progress_pulled("unreadable")
            return None
        self._metrics.progress_pulled("ok")
        return report

    async def _fetch(self, url: str) -> bytes:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(8192):
                body += chunk
                if len(body) > LIMIT:
                    raise ValueError(f"answer is larger than {LIMIT} bytes")
            return bytes(body)


def turning_points(report: ProgressReport) -> object:
    """What makes a report worth a look at once; numbers wait for their interval."""
    return (
        report.stage,
        report.attempt,
        report.pods_joined,
        report.checkpoint is not None,
        len(report.attempts),
        len(report.evaluation),
        len(report.forgetting),
    )
