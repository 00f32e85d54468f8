"""The generated schema says what the models say, within what the API server accepts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import Field

from finetune_api.base import Document
from finetune_api.crd import SchemaError, custom_resource_definition, open_api_schema, schema_of


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{path}.{key}")


SPEC = list(nodes(open_api_schema()["properties"]["spec"], "spec"))


def test_every_field_is_documented() -> None:
    fields = [(p, n) for p, n in SPEC if not p.endswith((".items", ".additionalProperties"))]
    assert [path for path, node in fields if not node.get("description")] == []


def test_every_string_list_and_map_is_bounded_so_that_rules_fit_the_cost_budget() -> None:
    unbounded = []
    for path, node in SPEC:
        if node.get("type") == "string" and not ("enum" in node or "maxLength" in node):
            unbounded.append(path)
        if node.get("type") == "array" and "maxItems" not in node:
            unbounded.append(path)
        if "additionalProperties" in node and "maxProperties" not in node:
            unbounded.append(path)
    assert unbounded == []


def test_every_number_has_bounds() -> None:
    numbers = [(p, n) for p, n in SPEC if n.get("type") in {"integer", "number"}]
    assert [p for p, n in numbers if "minimum" not in n or "maximum" not in n] == []


def test_the_compact_resource_fits_plain_kubectl_apply() -> None:
    assert len(json.dumps(custom_resource_definition(), separators=(",", ":"))) < 100_000


def test_a_union_is_refused_because_a_structural_schema_cannot_say_it() -> None:
    class Ambiguous(Document):
        """x"""

        value: int | str = Field(default=1)
        """x"""

    with pytest.raises(SchemaError, match="union of 2 types"):
        schema_of(Ambiguous, "ambiguous")
