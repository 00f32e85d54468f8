"""Process plumbing of Linux: children that die with their supervisor, orphans that are reaped."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Container

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> Callable[[], None]:
    """What a child runs before its program: SIGKILL reaches it when the supervisor dies, however.

    The parent may have died between fork and here, so the child looks once.
    """

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


REQUESTS = (signal.SIGTERM, signal.SIGINT)
"""To leave."""


def hold_requests() -> None:
    """Keep requests to leave until `take_requests`: PID 1 of a container would lose them before it
    listens, another process would die without a word."""
    signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)


def take_requests() -> None:
    """Deliver what was held, and what comes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)


def become_subreaper() -> None:
    """Adopt orphaned descendants, as PID 1 of a container does anyway."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """Direct children of this process."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def reap_orphans(known: Container[int], *, kill: bool) -> int:
    """Collect dead adopted children; with ``kill`` end the living ones too. Gives their number."""
    found = 0
    for pid in children():
        if pid in known:
            continue
        found += 1
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if kill:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
    return found


def kill_group(pid: int, number: int) -> None:
    """Signal a child's whole process group; it leads one of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
