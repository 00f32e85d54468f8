"""The API server's verdict and the models' verdict on one object, side by side."""

import json
import re
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from pydantic import ValidationError

from finetune_api import patterns, rules
from finetune_api.base import GROUP, PLURAL, VERSION
from finetune_api.job import FineTuneJob

UNCHECKED = "some validation rules were not checked"
VALUE_ERROR = "Value error, "
KUBERNETES_OWN = ("<nil>", "metadata.name")
"""A remark about the whole, and the check that every object's name gets: ours is stricter."""
INVALID = "Invalid value: "
SHAPE_MESSAGES = tuple(f": {shape.message}" for shape in patterns.SHAPES)
RULE_MESSAGES = frozenset(rule.message for rule in (*rules.RULES, *rules.TRANSITION_RULES))


@dataclass(frozen=True)
class Verdict:
    """What one side says: fields that are unknown, wrong, or of another shape, by their paths; the
    rules that are broken, by their messages."""

    unknown: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    misshapen: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    text: str = ""
    is_partial: bool = False
    """Whether rules were left unchecked because of wrong fields."""
    accepts: bool = True


class DryRun:
    """One connection, kept open."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._objects = client.CustomObjectsApi(api)
        self._batch, self._core = client.BatchV1Api(api), client.CoreV1Api(api)
        self.namespace = namespace
        self._place = (GROUP, VERSION, namespace, PLURAL)

    def create(self, job: dict[str, Any]) -> Verdict:
        """What the API server says to the creation of a job, without creating it."""
        try:
            self._objects.create_namespaced_custom_object(
                *self._place, job, dry_run="All", field_validation="Strict"
            )
        except client.ApiException as error:
            return _of_server(error)
        return Verdict()

    def replace(self, name: str, spec: Any) -> Verdict:
        """What it says to another specification of a stored job, without storing it."""
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        try:
            self._objects.patch_namespaced_custom_object(
                *self._place, name, patch, dry_run="All", field_validation="Strict",
                _content_type="application/json-patch+json",
            )  # fmt: skip
        except client.ApiException as error:
            return _of_server(error)
        return Verdict()

    def store(self, job: dict[str, Any]) -> None:
        self._objects.create_namespaced_custom_object(*self._place, job)

    def remove(self, name: str) -> None:
        self._objects.delete_namespaced_custom_object(*self._place, name)

    def refusal_of_child(self, child: dict[str, Any]) -> str:
        """What it says to the creation of a Job or Service; empty when it accepts it."""
        create = {
            "Job": self._batch.create_namespaced_job,
            "Service": self._core.create_namespaced_service,
        }[child["kind"]]
        try:
            create(self.namespace, child, dry_run="All", field_validation="Strict")
        except client.ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""


def _of_server(error: client.ApiException) -> Verdict:
    status = json.loads(error.body)
    text = str(status["message"])
    if error.status == 400:
        unknown = frozenset(re.findall(r'unknown field "(.*?)"', text))
        assert unknown, text
        return Verdict(unknown=unknown, text=text, accepts=False)
    assert error.status == 422, text
    causes = [{**c, "field": _of_map(c["field"])} for c in status["details"]["causes"]]
    rules = [c for c in causes if c["reason"] == "FieldValueInvalid" and _is_rule(c)]
    shapes = [c for c in causes if c["message"].endswith(SHAPE_MESSAGES)]
    others = [c for c in causes if c not in rules and c not in shapes]
    wrong = [c["field"] for c in others if c["field"] not in KUBERNETES_OWN]
    return Verdict(
        wrong=frozenset(wrong),
        misshapen=frozenset(c["field"] for c in shapes),
        broken=frozenset(_message(c) for c in rules),
        text=text,
        is_partial=UNCHECKED in text,
        accepts=False,
    )


def _is_rule(cause: dict[str, str]) -> bool:
    return cause["message"].removeprefix(INVALID) in RULE_MESSAGES


def _message(cause: dict[str, str]) -> str:
    return cause["message"].removeprefix(INVALID)


def _of_map(path: str) -> str:
    """The path of a map's value. Rules write it in brackets, other checks with a dot."""
    return re.sub(r"nodeSelector\[(.*)\]", r"nodeSelector.\1", path)


def _path(error: Any) -> str:
    first, *rest = error["loc"]
    return str(first) + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in rest)


def of_models(job: dict[str, Any]) -> Verdict:
    """What the models say."""
    try:
        FineTuneJob.from_manifest(job)
    except ValidationError as error:
        found, text = error.errors(), str(error)
    else:
        return Verdict()
    rules_told = [e["msg"].removeprefix(VALUE_ERROR) for e in found if e["type"] == "value_error"]
    unknown = [_path(e) for e in found if e["type"] == "extra_forbidden"]
    misshapen = [_path(e) for e in found if e["type"] == "shape"]
    told = ("value_error", "extra_forbidden", "shape")
    wrong = [_path(e) for e in found if e["type"] not in told]
    return Verdict(
        unknown=frozenset(unknown),
        wrong=frozenset(wrong),
        misshapen=frozenset(misshapen),
        broken=frozenset(part for message in rules_told for part in message.split("; ")),
        text=text,
        accepts=False,
    )
