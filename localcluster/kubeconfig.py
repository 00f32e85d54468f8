"""Writes kubeconfig files: by client certificate for programs, by token for service accounts."""

import base64
from pathlib import Path
from typing import Any

import yaml


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write(path: Path, server: str, authority: Path, user: dict[str, Any]) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "local",
                "cluster": {"server": server, "certificate-authority-data": _data(authority)},
            }
        ],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user"}}],
        "current-context": "local",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def with_certificate(path: Path, server: str, folder: Path, name: str) -> Path:
    """A kubeconfig with the key pair `<name>.crt`, `<name>.key` of the certificates' folder."""
    user = {
        "client-certificate-data": _data(folder / f"{name}.crt"),
        "client-key-data": _data(folder / f"{name}.key"),
    }
    return _write(path, server, folder / "ca.crt", user)


def with_token(path: Path, server: str, authority: Path, token: str) -> Path:
    """A kubeconfig with a bearer token."""
    return _write(path, server, authority, {"token": token})
