"""Storage servers that are wrong in one way each; the real S3 server wherever it can be."""

import datetime
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localcluster import certificates, s3
from localcluster.build import S3_SERVER
from localcluster.processes import free_ports, start, stop

STRANGER = s3.S3("", access_key="stranger-key", secret_key="stranger-secret")


class _Web(http.server.BaseHTTPRequestHandler):
    """A web server that is no S3 storage."""

    status, kind, body, headers_more = 404, "text/html", b"<html>not here</html>", ()

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        for name, value in self.headers_more:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    do_PUT = do_HEAD = do_GET  # noqa: N815  (the names that the library calls)

    def log_message(self, format: str, *values: Any) -> None:
        pass


class _Console(_Web):
    status, body = 200, b"<html>storage console</html>"


class _Redirecting(_Web):
    status, headers_more = 301, (("Location", "https://elsewhere.invalid/"),)


class _Skewed(_Web):
    """Answers as S3 does when the clocks of client and server differ."""

    status, kind = 403, "application/xml"
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>RequestTimeTooSkewed</Code>'
        b"<Message>The difference between the request time and the server's time is too large."
        b"</Message><MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds></Error>"
    )


class Servers:
    """Endpoints by name; ``late`` is a port where nothing listens until `start_late`."""

    def __init__(self, root: Path, folder: Path) -> None:
        """``root`` is the data of the cluster's own server: these serve the same buckets."""
        self.root, self.folder = root, folder
        self._records: list[dict[str, Any]] = []
        self._web: list[http.server.ThreadingHTTPServer] = []
        self._silent = socket.socket()
        self._silent.bind(("127.0.0.1", 0))  # bound but not listening: refused for sure
        self.nobody = f"http://127.0.0.1:{self._silent.getsockname()[1]}"
        self._late = free_ports(1)[0]
        self.late = f"http://127.0.0.1:{self._late}"
        self.web, self.console = self._serve(_Web), self._serve(_Console)
        self.redirecting, self.skewed = self._serve(_Redirecting), self._serve(_Skewed)
        self.authority = certificates.Authority(folder / "authority")
        self.private = self._tls("private", ["127.0.0.1"])
        self.other_name = self._tls("other-name", ["127.0.0.9"])
        self.expired = self._tls("expired", ["127.0.0.1"], valid=datetime.timedelta(minutes=-1))
        self.with_accounts = self._with_accounts()

    def start_late(self) -> None:
        """Bring up the storage that was away."""
        self._records.append(start(s3.command(self.root, self._late), log=self.folder / "late.log"))

    def close(self) -> None:
        stop(self._records)
        for server in self._web:
            server.shutdown()
        self._silent.close()

    def _serve(self, handler: type[_Web]) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._web.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    def _start(self, name: str, *flags: str) -> int:
        (port,) = free_ports(1)
        command = s3.command(self.root, port)
        command[command.index("posix") : command.index("posix")] = flags
        self._records.append(start(command, log=self.folder / f"{name}.log"))
        return port

    def _tls(
        self, name: str, addresses: list[str], valid: datetime.timedelta = certificates.VALID
    ) -> str:
        self.authority.issue_server(name, [f"{name}.example"], addresses, valid=valid)
        pair = self.authority.folder / name
        return f"https://127.0.0.1:{self._start(name, f'--cert={pair}.crt', f'--key={pair}.key')}"

    def _with_accounts(self) -> str:
        """The buckets belong to the first account; a second one has no rights on them."""
        accounts = self.folder / "accounts"
        accounts.mkdir()
        endpoint = f"http://127.0.0.1:{self._start('accounts', f'--iam-dir={accounts}')}"
        command = [
            S3_SERVER.binary, "admin", f"--access={s3.ACCESS_KEY}", f"--secret={s3.SECRET_KEY}",
            f"--endpoint-url={endpoint}", "create-user", f"--access={STRANGER.access_key}",
            f"--secret={STRANGER.secret_key}", "--role=user",
        ]  # fmt: skip
        for _ in range(50):
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode == 0:
                return endpoint
            time.sleep(0.2)
        raise RuntimeError(f"no second account: {made.stdout}{made.stderr}")


@contextmanager
def running(root: Path, folder: Path) -> Iterator[Servers]:
    servers = Servers(root, folder)
    try:
        yield servers
    finally:
        servers.close()
