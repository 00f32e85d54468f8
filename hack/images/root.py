"""What both kinds of root file system can do, and a process to run in one."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

REPORT_SECONDS = 20
TAIL_LINES = 30
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageError(Exception):
    """A step or a check failed; the message says which, and shows the end of its output."""


@dataclass(frozen=True)
class Process:
    """A command as an image or a pod starts it; paths are those inside."""

    command: Sequence[str]
    env: Mapping[str, str]
    workdir: str = "/"
    user: str = "0:0"
    binds: Mapping[str, Path] = field(default_factory=dict)
    """Folders and files from outside, by their place inside; writable."""
    as_pod: bool = False
    """Read-only root, no privileges, no way to gain them; else as a step of a build."""


class Root(Protocol):
    """A root file system that steps change and processes run in."""

    mode: str
    """In a sentence: how close this is to an image."""

    def fork(self, folder: Path) -> Self:
        """A root with the same content for another stage."""

    def outside(self, inside: str) -> Path:
        """Where a path of the root lies on this machine."""

    def seen(self, inside: str) -> str:
        """What processes in the root call that path."""

    def skips(self, command: str) -> bool:
        """Whether this RUN can't be executed here."""

    def run(self, process: Process, log: Path) -> int:
        """Run to the end, output into ``log``; the exit code."""


def wait(arguments: Sequence[str], log: Path, *, env: Mapping[str, str] | None, cwd: Path) -> int:
    """Run a program of this machine; a line now and then says that it still runs."""
    started = time.monotonic()
    with log.open("wb") as output:
        program = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd
        )
        try:
            while True:
                try:
                    return program.wait(timeout=REPORT_SECONDS)
                except subprocess.TimeoutExpired:
                    print(f"        … {time.monotonic() - started:.0f} s", flush=True)
        except BaseException:
            program.kill()
            program.wait()
            raise


def checked(run: Callable[[Path], int], log: Path, what: str) -> str:
    """The output of a run; ImageError with its end when the exit code is not 0."""
    code = run(log)
    text = log.read_text(encoding="utf-8", errors="replace")
    if code != 0:
        tail = "\n".join(f"    {line}" for line in text.splitlines()[-TAIL_LINES:])
        raise ImageError(f"{what}: exit code {code}\n{tail}")
    return text


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
