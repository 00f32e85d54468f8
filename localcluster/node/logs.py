"""Serves `kubectl logs`: the part of a kubelet's HTTPS API that reads a container's output."""

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from localcluster.certificates import Authority
from localcluster.node.container import Container
from localcluster.node.registration import HOST

if TYPE_CHECKING:
    from localcluster.node.agent import Agent

POLL_SECONDS = 0.2
BLOCK = 64 * 1024


class LogServer:
    """Listens on the loopback interface; the API server asks it on behalf of a person."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._runner: web.AppRunner | None = None

    async def start(self, state: Path) -> int:
        """Listen with a certificate of its own; returns the port."""
        folder = state / "serving"
        Authority(folder).issue_server("serving", ["localhost"], [HOST])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "serving.crt", folder / "serving.key")
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0, ssl_context=context)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        words, query = request.match_info, request.query
        pod = self._agent.find(words["namespace"], words["pod"])
        containers = [*pod.inits, *pod.mains] if pod else []
        container = next((c for c in containers if c.name == words["container"]), None)
        if pod is None or container is None:
            return web.Response(status=404, text="no such container on this node\n")
        begun = container.run is not None or container.ended is not None
        earlier = query.get("previous") == "true" and begun  # else the last run is the previous one
        path = _log(pod.folder / "c" / container.name, previous=earlier)
        if path is None:
            reason = container.waiting[0]
            named = f'container "{container.name}" in pod "{words["pod"]}"'
            text = f"{named} is waiting to start: {reason}"
            return web.Response(status=400, text=text)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        follow = query.get("follow") == "true"
        tail, limit = query.get("tailLines"), int(query.get("limitBytes", 2**63))
        with path.open("rb") as file:
            if tail is not None:
                file.seek(_start_of_tail(path, int(tail)))
            while limit > 0:
                ended = not follow or _at_rest(container)
                if data := file.read(min(BLOCK, limit)):
                    limit -= len(data)
                    await response.write(data)
                elif ended:
                    break
                else:
                    await asyncio.sleep(POLL_SECONDS)
        await response.write_eof()
        return response


def _at_rest(container: Container) -> bool:
    return container.run is None and container.over


def _log(folder: Path, *, previous: bool) -> Path | None:
    """The log of the last run, or of the one before."""
    attempts = sorted((int(path.name) for path in folder.glob("[0-9]*")), reverse=True)
    wanted = attempts[1:] if previous else attempts
    if not wanted:
        return None
    path = folder / str(wanted[0]) / "log"
    return path if path.exists() else None


def _start_of_tail(path: Path, lines: int) -> int:
    """Where the last lines of a file begin; reads backwards, so a long log costs nothing."""
    position = size = path.stat().st_size
    if lines <= 0:
        return size
    needed = lines
    with path.open("rb") as file:
        while position > 0:
            begin = max(0, position - BLOCK)
            file.seek(begin)
            block = file.read(position - begin)
            end = len(block) - 1 if position == size and block.endswith(b"\n") else len(block)
            while (found := block.rfind(b"\n", 0, end)) >= 0:
                needed -= 1
                if needed == 0:
                    return begin + found + 1
                end = found
            position = begin
    return 0
