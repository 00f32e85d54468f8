"""Parent of one container's process; outlives the node program. Standard library only.

Reads `launch.json` in its folder, starts the program in a session of its own, says so in
`state.json`, and when the program has ended kills whatever it left behind and writes `exit.json`.
SIGTERM is passed to the program as a container runtime passes it to PID 1; SIGUSR1 kills it.
Signals are taken synchronously, one after another, so no handler can interrupt a write.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CANNOT_START = 128
"""What container runtimes report for a program that could not be executed."""

_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: tells a reused pid from the old one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _write(path: Path, document: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(document))
    unfinished.rename(path)


def _execute(launch: dict[str, Any], log: str, failure: int) -> None:
    """The child: never returns. The program dies with the shim, whoever kills it."""
    try:
        os.setsid()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(launch["cwd"])
        os.execvpe(launch["argv"][0], launch["argv"], launch["env"])
    except BaseException as error:
        os.write(failure, str(error).encode())
    os._exit(CANNOT_START)


def _kill_strays() -> None:
    """As a subreaper the shim inherits every orphan, so children are all there is."""
    while True:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _ended(program: int) -> int | None:
    """Reap what has ended; the program's wait status when it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == program:
            return status


def main(folder: Path) -> None:
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    signals = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    launch = json.loads((folder / "launch.json").read_text())
    (folder / "launch.json").unlink()  # it holds secrets of the environment
    reading, writing = os.pipe2(os.O_CLOEXEC)
    program = os.fork()
    if program == 0:
        _execute(launch, str(folder / "log"), writing)
    os.close(writing)
    started = time.time()
    error = os.read(reading, 4096).decode()  # ends when exec has closed the other side
    state = {"pid": os.getpid(), "start": start_time(os.getpid()), "program": program}
    _write(folder / "state.json", {**state, "startedAt": started})
    print("started", flush=True)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)

    status = None
    while status is None:
        match signal.sigwait(signals):
            case signal.SIGCHLD:
                status = _ended(program)
            case signal.SIGTERM:
                os.kill(program, signal.SIGTERM)
            case _:
                os.kill(program, signal.SIGKILL)
    finished = time.time()
    _kill_strays()
    code = os.waitstatus_to_exitcode(status)
    document = {"exitCode": code if code >= 0 else 128 - code, "error": error}
    _write(folder / "exit.json", {**document, "startedAt": started, "finishedAt": finished})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
