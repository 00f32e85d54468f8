"""The operator's own HTTP server: /metrics, /healthz, /readyz.

Alive means that the loop turns and the workers work. An API server that is down makes an operator
neither dead nor unready: restarting it would only lose what it knows.
"""

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from finetune_operator.metrics import Metrics
from finetune_operator.workqueue import WorkQueue

TICK = 1.0
MAX_LAG = 20.0
MAX_QUEUE_AGE = 120.0


class Health:
    """What probes and Prometheus ask for."""

    def __init__(
        self,
        metrics: Metrics,
        queue: WorkQueue,
        *,
        is_ready: Callable[[], bool],
        working: Callable[[], bool],
    ) -> None:
        self._metrics = metrics
        self._queue = queue
        self._is_ready = is_ready
        self._working = working
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
        if not self._working():
            return "a worker has ended"
        if self._lag > MAX_LAG:
            return f"the event loop was {self._lag:.0f} s late"
        return ""

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await asyncio.sleep(TICK)
            self._lag = loop.time() - started - TICK
            self._metrics.loop_lag.set(max(0.0, self._lag))

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        self._metrics.queue_depth.set(self._queue.depth())
        self._metrics.queue_age.set(self._queue.oldest_age())
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self.problem()
        return web.Response(status=500 if problem else 200, text=problem or "ok")

    async def _readyz(self, _: web.Request) -> web.Response:
        if not self._is_ready():
            return web.Response(status=503, text="still listing objects")
        age = self._queue.oldest_age()
        if age > MAX_QUEUE_AGE:
            return web.Response(status=503, text=f"a job has waited {age:.0f} s for a worker")
        return web.Response(text="ok")
