"""Reads the part of the Dockerfile language that our images use; refuses the rest, all at once."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter

STEPS = {"ARG", "ENV", "COPY", "RUN", "USER", "WORKDIR", "EXPOSE", "LABEL", "ENTRYPOINT", "CMD"}
CACHE_MOUNT = "--mount=type=cache,target="


class DockerfileError(Exception):
    """What is wrong in a Dockerfile: a line for each mistake, with path and line number."""


@dataclass(frozen=True)
class Step:
    """One instruction of a stage, as it is written; ``line`` counts from 1."""

    keyword: str
    value: str
    line: int

    @property
    def flags(self) -> tuple[str, ...]:
        """The leading `--words`."""
        words = self.value.split()
        count = next((n for n, word in enumerate(words) if not word.startswith("--")), len(words))
        return tuple(words[:count])

    @property
    def rest(self) -> str:
        """What follows the flags."""
        text = self.value
        for flag in self.flags:
            text = text.strip().removeprefix(flag)
        return text.strip()

    @property
    def source_stage(self) -> str | None:
        """The stage that a COPY takes from; None: the build's own files."""
        given = (flag.removeprefix("--from=") for flag in self.flags if flag.startswith("--from="))
        return next(given, None)

    @property
    def caches(self) -> tuple[str, ...]:
        """Folders of a RUN that survive builds and stay out of the image."""
        return tuple(f.removeprefix(CACHE_MOUNT) for f in self.flags if f.startswith(CACHE_MOUNT))


@dataclass(frozen=True)
class Stage:
    """A FROM and its steps; ``base`` is an image or the name of an earlier stage."""

    name: str
    base: str
    steps: tuple[Step, ...]

    def uses(self) -> set[str]:
        """Names of what it starts from and copies from."""
        return {self.base, *(step.source_stage for step in self.steps if step.source_stage)}


@dataclass
class ImageConfig:
    """What an image says about the process it starts; grows step by step."""

    env: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()

    def copy(self) -> Self:
        """What a stage starts with that builds on this one."""
        return type(self)(
            dict(self.env), dict(self.arguments), self.workdir, self.user, self.entrypoint,
            self.command, dict(self.labels), self.ports,
        )  # fmt: skip

    def words(self, text: str) -> list[str]:
        """``text`` in words, with variables filled in and quotes taken off."""
        return list(WordSplitter(text, args=self.arguments, envs=self.env).split())

    def apply(self, step: Step, given: Mapping[str, str], outer: Mapping[str, str]) -> None:
        """Take over a step that only describes; COPY and RUN leave it as it is. ``given`` are the
        arguments of the build, ``outer`` those above the first FROM."""
        match step.keyword:
            case "ARG":
                name, has_default, default = step.value.partition("=")
                value = "".join(self.words(default)) if has_default else outer.get(name, "")
                self.arguments[name] = given.get(name, value)
            case "ENV":
                self.env |= _pairs(self.words(step.value))
            case "LABEL":
                self.labels |= _pairs(self.words(step.value))
            case "USER":
                (self.user,) = self.words(step.value)
            case "WORKDIR":
                (folder,) = self.words(step.value)
                self.workdir = str(Path(self.workdir) / folder)
            case "EXPOSE":
                self.ports += tuple(self.words(step.value))
            case "ENTRYPOINT":
                self.entrypoint, self.command = tuple(json.loads(step.value)), ()
            case "CMD":
                self.command = tuple(json.loads(step.value))


@dataclass(frozen=True)
class Dockerfile:
    """All stages in the order of the file; the last one is the image."""

    path: Path
    given: Mapping[str, str]
    outer: Mapping[str, str]
    stages: tuple[Stage, ...]

    def needed(self) -> tuple[Stage, ...]:
        """The stages that the image is made of; the others are not built."""
        by_name, wanted = {stage.name: stage for stage in self.stages}, set()
        open_names = [self.stages[-1].name]
        while open_names:
            stage = by_name.get(open_names.pop())
            if stage is None or stage.name in wanted:
                continue
            wanted.add(stage.name)
            open_names += stage.uses()
        return tuple(stage for stage in self.stages if stage.name in wanted)

    def config(self) -> ImageConfig:
        """What the finished image says about itself."""
        by_name = {stage.name: stage for stage in self.stages}

        def of(stage: Stage) -> ImageConfig:
            config = of(by_name[stage.base]).copy() if stage.base in by_name else ImageConfig()
            for step in stage.steps:
                config.apply(step, self.given, self.outer)
            return config

        return of(self.stages[-1])


def read(path: Path, build_arguments: Mapping[str, str] | None = None) -> Dockerfile:
    """Read and check a Dockerfile; ``build_arguments`` go before its defaults."""
    given, mistakes = dict(build_arguments or {}), list[str]()
    start, stages, known = ImageConfig(), list[Stage](), set[str]()
    for step in _steps(path):
        known |= {step.value.partition("=")[0]} if step.keyword == "ARG" else set()
        if step.keyword == "FROM":
            base, *name = start.words(step.value)
            label = name[1] if len(name) == 2 and name[0].upper() == "AS" else ""
            stages.append(Stage(label or f"stage-{len(stages)}", base, ()))
        elif step.keyword == "ARG" and not stages:
            start.apply(step, given, {})
        elif wrong := _mistake(step, {stage.name for stage in stages}):
            mistakes.append(f"{path}:{step.line}: {wrong}")
        elif stages:
            last = stages[-1]
            stages[-1] = Stage(last.name, last.base, (*last.steps, step))
    mistakes += [f"{path}: there is no ARG {name}" for name in given if name not in known]
    if not stages:
        mistakes.append(f"{path}: there is no FROM")
    if mistakes:
        raise DockerfileError("\n".join(mistakes))
    return Dockerfile(path, given, start.arguments, tuple(stages))


def _steps(path: Path) -> Iterator[Step]:
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    for found in parser.structure:
        if found["instruction"] != "COMMENT":
            yield Step(found["instruction"], found["value"], found["startline"] + 1)


def _mistake(step: Step, stages: set[str]) -> str | None:
    """Why this step can't be run here; None when it can."""
    if step.keyword not in STEPS:
        return f"{step.keyword} is not understood; the steps that are: {', '.join(sorted(STEPS))}"
    if step.keyword in {"ENTRYPOINT", "CMD"} and not step.value.startswith("["):
        return f'{step.keyword} must be a JSON list (["program", "argument"])'
    if step.keyword in {"ENV", "LABEL"} and "=" not in step.value:
        return f"{step.keyword} must be NAME=VALUE"
    for flag in step.flags:
        allowed = {"COPY": "--from=", "RUN": CACHE_MOUNT}.get(step.keyword)
        if allowed is None or not flag.startswith(allowed):
            return f"{step.keyword} {flag} is not understood"
    if step.source_stage is not None and step.source_stage not in stages:
        return f"COPY --from={step.source_stage} names no earlier stage"
    if step.keyword == "RUN" and step.rest.startswith(("[", "<<")):
        return "RUN must be a shell command, not a list or a here-document"
    return None


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words)
