"""The gang protocol: one WebSocket from each pod to index 0, small JSON messages both ways.

Both sides speak at least every heartbeat. A connection that closes, or is silent for too long, is
a lost pod (for index 0) or a lost index 0 (for the others): there is no reconnecting within an
epoch, because its ranks have lost each other as well.
"""

import asyncio
import contextlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    WSMsgType,
    web,
)

from finetune_api import names
from finetune_trainer.gang.members import Link, Message
from finetune_trainer.gang.settings import Identity, Timing

MESSAGE_LIMIT = 1 << 20
PATH = "/gang"


def authorized(header: str | None, token: str) -> bool:
    """Whether a request carries the gang's token."""
    return hmac.compare_digest((header or "").encode(), f"Bearer {token}".encode())


class Gang(Protocol):
    """What index 0 does with its peers."""

    def on_join(self, index: int, link: Link, info: Message) -> None:
        """A pod has come."""

    def on_lost(self, index: int, link: Link) -> None:
        """Its connection is gone."""

    def on_message(self, index: int, link: Link, message: Message) -> None:
        """It has news."""


Socket = web.WebSocketResponse | ClientWebSocketResponse


class SocketLink:
    """Orders for one pod, sent in order by a task of their own; `close` lets them out first."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._write())

    def send(self, message: Message) -> None:
        """Queue a message."""
        self._queue.put_nowait(message)

    def close(self) -> None:
        """Send what is queued, then cut the connection."""
        self._queue.put_nowait(None)

    async def flush(self) -> None:
        """Wait until all is sent and the connection cut."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), 2)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError, ClientError, RuntimeError):
            while (message := await self._queue.get()) is not None:
                await self._socket.send_str(json.dumps(message))
        await self._socket.close()


def gang_application(gang: Gang, token: str, pods: int) -> web.Application:
    """The server of index 0."""
    links: set[SocketLink] = set()

    async def join(request: web.Request) -> web.StreamResponse:
        if not authorized(request.headers.get("Authorization"), token):
            raise web.HTTPForbidden(text="wrong gang token")
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_LIMIT)
        await socket.prepare(request)
        info = await socket.receive_json()
        index = int(info["index"])
        if not 0 < index < pods:
            await socket.close()
            return socket
        link = SocketLink(socket)
        links.add(link)
        gang.on_join(index, link, info)
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    gang.on_message(index, link, json.loads(frame.data))
        finally:
            gang.on_lost(index, link)
            link.close()
            links.discard(link)
        return socket

    async def close_all(_: web.Application) -> None:
        for link in list(links):
            link.close()
            await link.flush()

    application = web.Application()
    application.router.add_get(PATH, join)
    application.on_shutdown.append(close_all)
    return application


async def follow(
    me: Identity,
    timing: Timing,
    session: ClientSession,
    *,
    told: Message,
    on_joined: Callable[[Link], None],
    on_message: Callable[[Message], None],
) -> bool:
    """Join index 0 and obey until the connection ends; False when it could not be reached.

    ``told``: what this pod's ranks have done so far (`Pod.past`).
    """
    url = f"ws://{me.hosts[0]}:{names.PORT_GANG}{PATH}"
    headers = {"Authorization": f"Bearer {me.token}"}
    try:
        socket = await asyncio.wait_for(
            session.ws_connect(url, headers=headers, max_msg_size=MESSAGE_LIMIT),
            timing.lost_after,
        )
    except (ClientError, OSError, TimeoutError):
        return False
    link = SocketLink(socket)
    info: dict[str, Any] = {
        "index": me.index, "pod": me.pod, "node": me.node, "uid": me.uid,
        "incarnation": me.incarnation, **told,
    }  # fmt: skip
    link.send(info)
    on_joined(link)
    try:
        while True:
            frame = await asyncio.wait_for(socket.receive(), timing.lost_after)
            if frame.type is not WSMsgType.TEXT:
                return True
            message = json.loads(frame.data)
            if message["do"] != "ping":
                on_message(message)
    except (TimeoutError, ConnectionError, ClientError):
        return True
    finally:
        link.close()


def open_session() -> ClientSession:
    """A client session without a total timeout: the protocol has heartbeats."""
    return ClientSession(timeout=ClientTimeout(total=None, connect=5))
