"""The API server's verdict and the models' verdict on one object, side by side."""

import json
import re
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from pydantic import ValidationError

from finetune_api import rules
from finetune_api.base import GROUP, PLURAL, VERSION
from finetune_api.job import FineTuneJob

UNCHECKED = "some validation rules were not checked"
VALUE_ERROR = "Value error, "
INVALID = "Invalid value: "
RULE_MESSAGES = frozenset(rule.message for rule in (*rules.RULES, *rules.TRANSITION_RULES))


@dataclass(frozen=True)
class Verdict:
    """What one side says. ``unknown`` fields, ``wrong`` fields, and the ``broken`` rules."""

    unknown: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    text: str = ""
    is_partial: bool = False
    """Whether rules were left unchecked because of wrong fields."""

    @property
    def accepts(self) -> bool:
        return not (self.unknown or self.wrong or self.broken)


class DryRun:
    """One connection, kept open."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._objects = client.CustomObjectsApi(api)
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
                *self._place, name, patch, dry_run="All", field_validation="Strict"
            )
        except client.ApiException as error:
            return _of_server(error)
        return Verdict()

    def store(self, job: dict[str, Any]) -> None:
        self._objects.create_namespaced_custom_object(*self._place, job)

    def remove(self, name: str) -> None:
        self._objects.delete_namespaced_custom_object(*self._place, name)


def _of_server(error: client.ApiException) -> Verdict:
    status = json.loads(error.body)
    text = str(status["message"])
    if error.status == 400:
        return Verdict(unknown=frozenset(re.findall(r'unknown field "(.*?)"', text)), text=text)
    assert error.status == 422, text
    causes = status["details"]["causes"]
    rules = [c for c in causes if c["reason"] == "FieldValueInvalid" and _is_rule(c)]
    wrong = [c["field"] for c in causes if c not in rules and c["field"] != "<nil>"]
    return Verdict(
        wrong=frozenset(wrong),
        broken=frozenset(_message(c) for c in rules),
        text=text,
        is_partial=UNCHECKED in text,
    )


def of_models(job: dict[str, Any]) -> Verdict:
    """What the models say."""
    try:
        FineTuneJob.from_manifest(job)
    except ValidationError as error:
        found, text = error.errors(), str(error)
    else:
        return Verdict()
    rules = [e["msg"].removeprefix(VALUE_ERROR) for e in found if e["type"] == "value_error"]
    unknown = [_path(e) for e in found if e["type"] == "extra_forbidden"]
    wrong = [_path(e) for e in found if e["type"] not in ("value_error", "extra_forbidden")]
    return Verdict(
        frozenset(unknown), frozenset(wrong),
        frozenset(part for message in rules for part in message.split("; ")), text,
    )  # fmt: skip


def _is_rule(cause: dict[str, str]) -> bool:
    return cause["message"].removeprefix(INVALID) in RULE_MESSAGES


def _message(cause: dict[str, str]) -> str:
    return cause["message"].removeprefix(INVALID)


def _path(error: Any) -> str:
    first, *rest = error["loc"]
    return str(first) + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in rest)
