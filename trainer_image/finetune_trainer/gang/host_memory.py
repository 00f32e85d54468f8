"""Has the kernel killed a process of this container for want of memory?"""

from pathlib import Path

EVENTS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)
"""Of the container's own group: cgroup v2, and v1."""


def kills(files: tuple[Path, ...] = EVENTS) -> int:
    """How many processes were killed so far; 0 where the kernel does not tell."""
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        for name, _, count in (line.partition(" ") for line in lines):
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0
