"""Starts programs and ends exactly those: a pid counts only together with its start time."""

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

TERM_SECONDS = 5.0


class ProcessError(RuntimeError):
    """A program of the cluster did not start or died; the message names its log."""


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Start a program in its own session, output to a log; returns its record."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    return {
        "pid": process.pid,
        "created": psutil.Process(process.pid).create_time(),
        "log": str(log),
    }


def find(record: Mapping[str, Any]) -> psutil.Process | None:
    """The live process of a record; None when it ended, even if its pid lives on in another."""
    try:
        process = psutil.Process(record["pid"])
        alive = process.create_time() == record["created"]
        return process if alive and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def stop(records: Sequence[Mapping[str, Any]], *, patience: float = TERM_SECONDS) -> None:
    """End the recorded processes: SIGTERM to all, SIGKILL to those that stay."""
    processes = [process for record in records if (process := find(record)) is not None]
    for process in processes:
        process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=patience)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=TERM_SECONDS)


def require_alive(name: str, record: Mapping[str, Any]) -> None:
    """Raise when a program has died."""
    if find(record) is None:
        tail = Path(record["log"]).read_text(errors="replace").splitlines()[-5:]
        lines = "\n  ".join(tail)
        raise ProcessError(f"{name} died at start; the end of {record['log']}:\n  {lines}")


def wait_until(ready: Any, *, what: str, seconds: float, records: Mapping[str, Any]) -> None:
    """Poll until ``ready()`` is true; fail at once when a recorded program dies."""
    end = time.monotonic() + seconds
    while not ready():
        for name, record in records.items():
            require_alive(name, record)
        if time.monotonic() > end:
            raise ProcessError(f"{what} was not ready after {seconds:.0f} s")
        time.sleep(0.1)


def answers(url: str, context: ssl.SSLContext | None = None, *, text: str = "") -> bool:
    """Whether a server says 200 there now, with this text in its answer."""
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as response:
            return response.status == 200 and text in response.read().decode()
    except (urllib.error.URLError, OSError):
        return False
