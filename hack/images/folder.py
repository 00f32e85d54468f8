"""Without root: the same steps in one folder of this machine, with this machine's Python.

Paths of the image are read as paths below the folder. What needs root (apt-get, useradd) is left
out and said; a read-only root and the absence of compilers can't be shown this way.
"""

import os
import re
import sys
from pathlib import Path
from typing import Self

from hack.images.root import SYSTEM_PATH, Process, wait

PLACES = re.compile(r"(?<![\w/.-])(?=/(?:app|build|work|dev/termination-log)(?:[/\s:]|$))")
NEEDS_ROOT = re.compile(r"(?:\w+=\S+ )*(?:apt-get|useradd) ")


class Folder:
    """A folder that stands for all stages of an image."""

    mode = "the pip and uv steps, in a clean virtual environment (no root, or no debootstrap)"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def fork(self, folder: Path) -> Self:
        return self

    def outside(self, inside: str) -> Path:
        return self._folder / inside.lstrip("/")

    def seen(self, inside: str) -> str:
        return str(self.outside(inside))

    def skips(self, command: str) -> bool:
        return NEEDS_ROOT.match(command) is not None

    def run(self, process: Process, log: Path) -> int:
        for inside, source in process.binds.items():
            place = self.outside(inside)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(source)
        here = Path(sys._base_executable).parent
        env = {name: self._placed(value) for name, value in process.env.items()}
        path = f"{env.get('PATH', '')}:{here}:{SYSTEM_PATH}".lstrip(":")
        env = {**os.environ, **env, "PATH": path, "PYTHONPATH": ""}
        command = [self._placed(word) for word in process.command]
        return wait(command, log, env=env, cwd=self.outside(process.workdir))

    def _placed(self, text: str) -> str:
        return PLACES.sub(str(self._folder), text)
