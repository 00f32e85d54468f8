"""Startup, readiness and liveness probes: one loop, three meanings."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp


class Prober:
    """Asks one container's programs for their health."""

    def __init__(
        self, session: aiohttp.ClientSession, container: dict[str, Any], address: str
    ) -> None:
        self._session, self._address = session, address
        self._ports = {
            port["name"]: port["containerPort"]
            for port in container.get("ports", [])
            if "name" in port
        }

    async def follow(
        self, probe: dict[str, Any], passed: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        """Call ``passed`` or ``failed`` whenever a threshold is reached; never ends by itself."""
        needed = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        verdict, count = None, 0
        while True:
            trouble = await self.check(probe)
            count = count + 1 if verdict == (trouble is None) else 1
            verdict = trouble is None
            if count >= needed[verdict]:
                passed() if trouble is None else failed(trouble)
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def until_passed(self, probe: dict[str, Any], failed: Callable[[str], None]) -> None:
        """Return when a startup probe has passed."""
        done = asyncio.Event()
        following = asyncio.create_task(self.follow(probe, done.set, failed))
        try:
            await done.wait()
        finally:
            following.cancel()

    async def check(self, probe: dict[str, Any]) -> str | None:
        """What is wrong; None when nothing is, or when the kind of probe can't be run here."""
        checks: dict[str, Callable[[dict[str, Any]], Awaitable[str | None]]] = {
            "httpGet": self._http_get,
            "tcpSocket": self._tcp_socket,
        }
        for kind, check in checks.items():
            if kind in probe:
                try:
                    async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
                        return await check(probe[kind])
                except (OSError, aiohttp.ClientError) as error:
                    return str(error) or type(error).__name__
                except TimeoutError:
                    return "context deadline exceeded"
        return None

    async def _http_get(self, request: dict[str, Any]) -> str | None:
        scheme = request.get("scheme", "HTTP").lower()
        host = f"{request.get('host', self._address)}:{self._port(request['port'])}"
        url = f"{scheme}://{host}{request.get('path', '/')}"
        headers = {header["name"]: header["value"] for header in request.get("httpHeaders", [])}
        async with self._session.get(
            url, headers=headers, ssl=False, allow_redirects=False
        ) as response:
            healthy = 200 <= response.status < 400
            return None if healthy else f"HTTP probe failed with statuscode: {response.status}"

    async def _tcp_socket(self, request: dict[str, Any]) -> str | None:
        host = request.get("host", self._address)
        _, writer = await asyncio.open_connection(host, self._port(request["port"]))
        writer.close()
        return None

    def _port(self, port: int | str) -> int:
        return port if isinstance(port, int) else self._ports[port]
