"""A thin asynchronous client of the API server: requests, and lists that stay current."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

STRATEGIC = "application/strategic-merge-patch+json"
WATCH_SECONDS = 300
RETRY_SECONDS = 0.5

Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused; ``code`` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class _ExpiredError(Exception):
    """The watch's position is gone: list again."""


class Api:
    """Requests as the user of a kubeconfig. ``connected`` is cleared to play a lost network."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        self.server: str = cluster["server"]
        self.authority: bytes = base64.b64decode(cluster["certificate-authority-data"])
        self.connected = asyncio.Event()
        self.connected.set()
        context = ssl.create_default_context(cadata=self.authority.decode())
        if "client-certificate-data" in user:
            _load_pair(context, user["client-certificate-data"], user["client-key-data"])
        token = user.get("token")
        self._session = aiohttp.ClientSession(
            base_url=self.server,
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, **parameters: str) -> Object:
        """GET an object or a list."""
        return await self._request("GET", path, params=parameters)

    async def find(self, path: str) -> Object | None:
        """GET an object; None when there is none."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def post(self, path: str, body: Object) -> Object:
        """Create an object."""
        return await self._request("POST", path, json=body)

    async def patch(self, path: str, body: Object) -> Object:
        """Strategic merge patch: conditions merge by type, so those of others survive."""
        headers = {"Content-Type": STRATEGIC}
        return await self._request("PATCH", path, data=json.dumps(body), headers=headers)

    async def put(self, path: str, body: Object) -> Object:
        """Replace an object."""
        return await self._request("PUT", path, json=body)

    async def delete(self, path: str, *, grace_seconds: int, uid: str) -> None:
        """Delete exactly the object with this uid."""
        options = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        await self._request("DELETE", path, json=options)

    async def follow(self, path: str, **parameters: str) -> AsyncIterator[tuple[str, Any]]:
        """First ``("LISTED", items)``, then every change; the list again when that is lost."""
        while True:
            try:
                listing = await self.get(path, **parameters)
                yield "LISTED", listing["items"]
                version = listing["metadata"]["resourceVersion"]
                while True:
                    async for change, item in self._watch(path, version, parameters):
                        version = item["metadata"]["resourceVersion"]
                        await self.connected.wait()
                        if change != "BOOKMARK":
                            yield change, item
            except (aiohttp.ClientError, TimeoutError, ApiError, _ExpiredError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(
        self, path: str, version: str, parameters: dict[str, str]
    ) -> AsyncIterator[tuple[str, Object]]:
        query = {
            **parameters,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        await self.connected.wait()
        limit = aiohttp.ClientTimeout(total=None, sock_read=WATCH_SECONDS + 30)
        async with self._session.get(path, params=query, timeout=limit) as response:
            if response.status != 200:
                raise ApiError(response.status, await response.text())
            unfinished = b""
            async for chunk in response.content.iter_any():
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _ExpiredError
                    yield event["type"], event["object"]

    async def _request(self, method: str, path: str, **arguments: Any) -> Object:
        await self.connected.wait()
        async with self._session.request(method, path, **arguments) as response:
            body = await response.json(content_type=None)
            if response.status >= 400:
                raise ApiError(response.status, (body or {}).get("message", str(body)))
            return body


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The ssl module reads key pairs from files only."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, data in (("certificate", certificate), ("key", key)):
            path = Path(folder) / name
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(data))
            paths.append(str(path))
        context.load_cert_chain(*paths)
