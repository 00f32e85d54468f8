"""Executes the steps of a Dockerfile, stage by stage, in root file systems."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from hack.images.chroot import Chroot
from hack.images.dockerfile import Dockerfile, DockerfileError, ImageConfig, Stage, Step
from hack.images.folder import Folder
from hack.images.root import Process, Root, checked

CONTEXT = Path(__file__).resolve().parent.parent.parent
CACHE = CONTEXT / ".cache" / "images"


class Builder:
    """One build of one Dockerfile; its stages lie below ``work``."""

    def __init__(self, dockerfile: Dockerfile, work: Path, *, is_chroot: bool) -> None:
        self._dockerfile = dockerfile
        self._is_chroot = is_chroot
        self._work = work
        self._stages: dict[str, tuple[Root, ImageConfig]] = {}
        self._log = work / "step.log"

    def build(self) -> tuple[Root, ImageConfig]:
        """Run all steps that the image is made of; its root and its configuration."""
        stages = self._dockerfile.needed()
        for index, stage in enumerate(stages):
            later = any(stage.base in other.uses() for other in stages[index + 1 :])
            root, config = self._start(stage, is_last_use=not later)
            self._stages[stage.name] = root, config
            for step in stage.steps:
                self._step(stage, root, config, step)
        return self._stages[stages[-1].name]

    def _start(self, stage: Stage, *, is_last_use: bool) -> tuple[Root, ImageConfig]:
        folder = self._work / f"{len(self._stages)}-{stage.name}"
        if stage.base in self._stages:
            root, config = self._stages[stage.base]
            return root if is_last_use else root.fork(folder), config.copy()
        if self._is_chroot:
            return Chroot.from_image(stage.base, folder, CACHE), ImageConfig()
        return Folder(folder), ImageConfig()

    def _step(self, stage: Stage, root: Root, config: ImageConfig, step: Step) -> None:
        started = time.monotonic()
        title = f"  {stage.name:<12} {step.keyword:<5} {step.rest}"
        match step.keyword:
            case "RUN" if root.skips(step.rest):
                print(f"{title[:92]} (needs root: left out)")
            case "RUN":
                print(title[:100], flush=True)
                self._run(root, config, step)
                print(f"        {time.monotonic() - started:.1f} s", flush=True)
            case "COPY":
                print(title[:100])
                self._copy(root, config, step)
            case _:
                config.apply(step, self._dockerfile.given, self._dockerfile.outer)
                if step.keyword == "WORKDIR":
                    root.outside(config.workdir).mkdir(parents=True, exist_ok=True)

    def _run(self, root: Root, config: ImageConfig, step: Step) -> None:
        process = Process(
            ["/bin/sh", "-c", step.rest],
            {**config.arguments, **config.env},
            config.workdir,
            config.user,
            {target: _own_cache(target) for target in step.caches},
        )
        where = f"{self._dockerfile.path}:{step.line}: RUN {step.rest}"
        checked(lambda log: root.run(process, log), self._log, where)

    def _copy(self, root: Root, config: ImageConfig, step: Step) -> None:
        *sources, target = config.words(step.rest)
        place = root.outside(str(Path(config.workdir) / target))
        into = target.endswith("/") or len(sources) > 1
        for source in sources:
            if step.source_stage is not None:
                _copy_tree(self._stages[step.source_stage][0].outside(source), place, into=into)
                continue
            files = list(_context_files(source))
            if not files:
                where = f"{self._dockerfile.path}:{step.line}"
                raise DockerfileError(f"{where}: {source} is not among the build's files")
            for file in files:
                relative = file.relative_to(CONTEXT / source)
                goal = place / file.name if into and relative == Path() else place / relative
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, goal)


def _context_files(source: str) -> Iterator[Path]:
    """The files of the repository that a COPY of ``source`` takes, past .dockerignore."""
    ignored = GitIgnoreSpec.from_lines((CONTEXT / ".dockerignore").read_text().splitlines())
    start = CONTEXT / source
    for file in [start] if start.is_file() else sorted(start.rglob("*")):
        if file.is_file() and not ignored.match_file(file.relative_to(CONTEXT)):
            yield file


def _copy_tree(source: Path, place: Path, *, into: bool) -> None:
    """As COPY does: a folder's content, a file under its own or the given name; owners stay. The
    files are linked, not copied: gigabytes, and the earlier stage is thrown away."""
    if source == place:
        return
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        arguments = [f"{source}/.", str(place)]
    else:
        (place if into else place.parent).mkdir(parents=True, exist_ok=True)
        arguments = [str(source), f"{place}/" if into else str(place)]
    subprocess.run(["cp", "-a", "--link", *arguments], check=True)


def _own_cache(target: str) -> Path:
    """A cache of builds is this user's own cache of the same tool: nothing is fetched twice."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / Path(target).name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
