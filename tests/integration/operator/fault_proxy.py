"""Stands between an operator and the API server. It forwards everything, and does harm when told
to: holds an operator at a write that it counts, or keeps an event from a watch."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from localcluster.cluster import Cluster

HOP_BY_HOP = {"connection", "host", "transfer-encoding", "content-length"}
WRITES = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass
class Stop:
    """Where an operator is held with a job: at its n-th write, which the API server has done. It
    hears the answer, or it does not; no later write about the job gets through."""

    at: int
    is_answered: bool = True
    writes: list[str] = field(default_factory=list)
    is_waiting: threading.Event = field(default_factory=threading.Event)


class FaultProxy:
    """A TLS server of its own, in a thread, with the API server's certificate."""

    def __init__(self, cluster: Cluster) -> None:
        folder = cluster.layout.certificates
        self._server = cluster.server
        self._trust = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self._identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._identity.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.address = ""
        self.stops: dict[str, Stop] = {}
        self.hides: Callable[[dict[str, Any]], bool] = lambda _: False

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**22)
        app.router.add_route("*", "/{path:.*}", self._forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as self._session:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._identity).start()
            self.address = f"https://127.0.0.1:{runner.addresses[0][1]}"
            self._up.set()
            await self._leave.wait()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        stop = self._stop(request, body)
        if stop is not None:
            if len(stop.writes) == stop.at:
                await self._hold(stop)
            stop.writes.append(f"{request.method} {request.path}")
        async with self._session.request(
            request.method,
            f"{self._server}{request.raw_path}",
            data=body or None,
            headers={k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP},
        ) as answer:
            if stop is not None and len(stop.writes) == stop.at and not stop.is_answered:
                await answer.read()
                await self._hold(stop)
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                if request.query.get("watch") == "true":
                    await self._watch(answer, response)
                else:
                    await response.write(await answer.read())
                await response.write_eof()
        return response

    @staticmethod
    async def _hold(stop: Stop) -> None:
        """For ever: the operator that waits here will not live to hear more."""
        stop.is_waiting.set()
        await asyncio.Event().wait()

    async def _watch(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if not self.hides(json.loads(line)):
                    await response.write(line + b"\n")

    def _stop(self, request: web.Request, body: bytes) -> Stop | None:
        """The stop of the job that a write is about."""
        if request.method not in WRITES:
            return None
        about = f"{request.path} {body.decode()}"
        return next((stop for job, stop in self.stops.items() if job in about), None)
