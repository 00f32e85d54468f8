"""The operator's own HTTP server: /metrics, /healthz, /readyz.

Alive means that the loop turns and the workers work. An API server that is down makes an operator
neither dead nor unready: restarting it would only lose what it knows. A standby is ready too: a
rollout must not wait for two leaders.
"""

import asyncio
import contextlib
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from finetune_operator.metrics import Metrics

TICK = 1.0
MAX_LAG = 20.0
MAX_QUEUE_AGE = 120.0


class Served(Protocol):
    """What acts, once this process leads."""

    @property
    def is_listed(self) -> bool:
        """Whether all kinds have been listed, so that jobs are worked on."""

    def oldest_age(self) -> float:
        """How long the longest waiting job has waited for a worker."""

    def problem(self) -> str:
        """Why the process should be restarted; empty when it should not."""

    def measure(self) -> None:
        """Bring the gauges up to date."""


class Health:
    """What probes and Prometheus ask for."""

    def __init__(self, metrics: Metrics, serving: Served) -> None:
        self._metrics = metrics
        self._serving = serving
        self.is_standby = False
        """Whether another process leads and this one is ready to follow."""
        self._lag = 0.0
        self._runner: web.AppRunner | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Serve; the port that was taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self._ticking = asyncio.create_task(self._tick())
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop serving."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        if self._runner is not None:
            await self._runner.cleanup()

    def problem(self) -> str:
        """Why this process should be restarted; empty when it should not."""
        if self._lag > MAX_LAG:
            return f"the event loop was {self._lag:.0f} s late"
        return self._serving.problem()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await asyncio.sleep(TICK)
            self._lag = loop.time() - started - TICK
            self._metrics.loop_lag.set(max(0.0, self._lag))

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        self._serving.measure()
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self.problem()
        return web.Response(status=500 if problem else 200, text=problem or "ok")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.is_standby:
            return web.Response(text="standby")
        if not self._serving.is_listed:
            return web.Response(status=503, text="still listing objects")
        age = self._serving.oldest_age()
        if age > MAX_QUEUE_AGE:
            return web.Response(status=503, text=f"a job has waited {age:.0f} s for a worker")
        return web.Response(text="ok")
