"""Output of child processes as lines: into a log, to stdout with a prefix, the last ones kept."""

import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

LONGEST = 64 * 1024
TAIL = 30
READ = 64 * 1024


class Splitter:
    """Cuts a byte stream at newlines and carriage returns; endless lines are cut at a limit."""

    def __init__(self, on_line: Callable[[bytes], None], *, longest: int = LONGEST) -> None:
        self._on_line = on_line
        self._longest = longest
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """More bytes."""
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line:
                self._on_line(line)
        if len(rest) > self._longest:
            self._on_line(rest)
            rest = b""
        self._rest = rest

    def end(self) -> None:
        """No more bytes."""
        if self._rest:
            self._on_line(self._rest)
            self._rest = b""


def read_available(fd: int, splitter: Splitter) -> bool:
    """Read what a non-blocking pipe holds; False at its end."""
    while True:
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        splitter.feed(data)


class Output:
    """Where the lines of one process go."""

    def __init__(self, prefix: str, log: Path) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._prefix = prefix
        self._log = log.open("ab")

    def line(self, line: bytes, *, error: bool) -> None:
        """Keep, log and pass on one line."""
        self._log.write(line + b"\n")
        text = line.decode(errors="replace")
        if error:
            self.tail.append(text[:500])
        print(f"{self._prefix} {text}", file=sys.stdout, flush=True)  # noqa: T201

    def flush(self) -> None:
        """Make the log readable for others."""
        self._log.flush()

    def close(self) -> None:
        """The process has ended."""
        self._log.close()
