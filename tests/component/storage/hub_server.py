"""The part of the hub's API that reading takes, from folders: for huggingface_hub itself."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = ".safetensors"


class Hub(ThreadingHTTPServer):
    """Serves ``folders`` by repository (`org/name`, `datasets/org/name`); ``token`` opens those in
    ``gated`` and ``private``; answers ``broken`` with 503 while it is above 0."""

    daemon_threads = True

    def __init__(self, folders: dict[str, Path], token: str = "") -> None:
        self.folders, self.token = folders, token
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.broken = 0
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    """One request."""

    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        self.server.asked.append(path)
        if self.server.broken:
            self.server.broken -= 1
            self._refuse(503, "")
            return
        kind = "resolve"
        if path.startswith("api/"):
            path = path.removeprefix("api/").removeprefix("models/")
            kind = "revision" if "/revision/" in path else "tree"
        repository, _, rest = path.partition(f"/{kind}/")
        revision, _, file = rest.partition("/")
        if refusal := self._refusal(repository, revision):
            self._refuse(*refusal)
        elif kind == "revision":
            self._json({"id": repository, "sha": COMMIT, "siblings": []})
        elif kind == "tree":
            self._json(list(map(self._entry(repository), self._files(repository))))
        else:
            self._file(self.server.folders[repository] / file)

    def _refusal(self, repository: str, revision: str) -> tuple[int, str] | None:
        mine = self.headers.get("Authorization") == f"Bearer {self.server.token}"
        if repository not in self.server.folders:
            return 404, "RepoNotFound"
        if repository in self.server.private and not mine:
            return 401, "RepoNotFound"
        if repository in self.server.gated and not mine:
            return 403, "GatedRepo"
        return (404, "RevisionNotFound") if revision not in ("main", "v1", COMMIT) else None

    def _files(self, repository: str) -> list[Path]:
        return [p for p in sorted(self.server.folders[repository].rglob("*")) if p.is_file()]

    def _entry(self, repository: str) -> Any:
        def entry(path: Path) -> dict[str, Any]:
            content = path.read_bytes()
            relative = path.relative_to(self.server.folders[repository]).as_posix()
            made = {"type": "file", "path": relative, "size": len(content), "oid": "0" * 40}
            sha = hashlib.sha256(content).hexdigest()
            lfs = {"oid": sha, "size": len(content), "pointerSize": 130}
            return made | ({"lfs": lfs} if path.suffix == LARGE else {})

        return entry

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._refuse(404, "EntryNotFound")
            return
        content = path.read_bytes()
        wanted = self.headers.get("Range")
        if wanted:
            content = content[: int(wanted.rpartition("-")[2]) + 1]
        self._send(206 if wanted else 200, content)

    def _json(self, document: Any) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"no", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
