"""What a node needs from whatever runs its containers: the process runner or the scripted one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Image:
    """What an image means here: folders put before PATH, variables, and a default command."""

    path: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True)
class Launch:
    """One start of one container; ``folder`` is where its log and state lie."""

    pod: dict[str, Any]
    container: str
    folder: Path
    argv: list[str]
    env: dict[str, str]
    cwd: str

    @property
    def log(self) -> Path:
        """Output and errors of the container."""
        return self.folder / "log"

    @property
    def termination_message(self) -> Path:
        """The file that stands for terminationMessagePath."""
        return self.folder / "termination-message"


@dataclass(frozen=True)
class Ended:
    """How one run of a container ended; times are seconds since the epoch."""

    exit_code: int
    started_at: float
    finished_at: float
    reason: str | None = None
    message: str = ""
    disruption: str | None = None


class Run(Protocol):
    """A container that runs, or has run."""

    started_at: float

    @property
    def over(self) -> bool:
        """Whether it has ended, so that waiting for it takes no time."""

    def terminate(self) -> None:
        """Ask it to end, as SIGTERM to PID 1."""

    def kill(self) -> None:
        """End it and all it started."""

    async def wait(self) -> Ended:
        """How it ended, once it has."""


class Runner(Protocol):
    """Starts containers and finds again those that outlived the node program."""

    def image(self, pod: dict[str, Any], container: dict[str, Any]) -> Image | None:
        """The image of a container; None when it cannot be pulled."""

    async def start(self, launch: Launch) -> Run:
        """Start a container."""

    async def find(self, folder: Path) -> Run | None:
        """The run whose folder this is."""

    def clear(self, folder: Path) -> None:
        """End every process whose container's folder lies below this one."""
