"""Reads a job's YAML and tells every mistake at once: file, line, path, rule, and a near name.

YAML 1.2 is read, as kubectl does: `2e-4` is a number.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from finetune_api.base import API_VERSION, KIND
from finetune_api.job import FineTuneJob, ObjectMeta
from finetune_cli.usage import UsageError

SUBJECT = re.compile(r"^(Input|String|List|Dictionary|Object) should ")
"""How a message begins that is told behind the path of its field."""


def read_job(path: Path) -> FineTuneJob:
    """The job in a file.

    Raises:
        UsageError: with one line for each mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read: it is not UTF-8 text") from error
    try:
        manifest = YAML().load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}  not YAML: {error.problem}") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{path}:1  expected a {KIND} object, got {type(manifest).__name__}")
    problems = [
        f"{path}:1  {field}   must be {wanted}, got {manifest.get(field)}"
        for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND))
        if manifest.get(field) != wanted
    ]
    job = None
    try:
        job = FineTuneJob.from_manifest(manifest)
    except ValidationError as error:
        problems += [_sentence(path, manifest, problem) for problem in error.errors()]
    if problems or job is None:
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}"
        raise UsageError("\n".join([*problems, count]))
    return job


def _sentence(path: Path, manifest: Any, problem: Any) -> str:
    location = problem["loc"]
    where = ".".join(str(part) for part in location) or "job"
    text = SUBJECT.sub("must ", problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "extra_forbidden":
        text = "unknown field" + _suggestion(location)
    elif problem["type"] == "missing":
        text = "required"
    elif isinstance(problem["input"], str | int | float):
        text = f"{text}, got {json.dumps(problem['input'], ensure_ascii=False)}"
    return f"{path}:{_line(manifest, location)}  {where}   {text}"


def _line(manifest: Any, location: tuple[str | int, ...]) -> int:
    """Line of the deepest part of the path that the file contains."""
    node: Any = manifest
    line = 1
    for part in location:
        try:
            position = node.lc.item if isinstance(part, int) else node.lc.key
            line = position(part)[0] + 1
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def _suggestion(location: tuple[str | int, ...]) -> str:
    model: Any = FineTuneJob
    for part in location[:-1]:
        model = _child(model, part)
        if model is None:
            return ""
    names = [field.alias or name for name, field in model.model_fields.items()]
    if model is ObjectMeta:
        names += ["labels", "annotations"]
    near = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f', did you mean "{near[0]}"?' if near else f"; known: {', '.join(sorted(names))}"


def _child(model: Any, part: str | int) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if part in (name, field.alias):
            options = (field.annotation, *getattr(field.annotation, "__args__", ()))
            for option in options:
                if isinstance(option, type) and issubclass(option, BaseModel):
                    return option
    return None
