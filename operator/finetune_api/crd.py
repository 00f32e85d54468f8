"""The CustomResourceDefinition, generated from the models.

Turns pydantic's JSON Schema into a structural schema: references inlined, `X | None` collapsed,
noise dropped, rules of ``rules.py`` attached to their nodes. Raises on anything that a structural
schema cannot say, so a bad field is caught when it is written.
"""

from typing import Any

from finetune_api import rules
from finetune_api.base import GROUP, KIND, PLURAL, VERSION, Document
from finetune_api.job import FineTuneJobSpec
from finetune_api.rule import Rule, TransitionRule
from finetune_api.status import FineTuneJobStatus

Schema = dict[str, Any]

HELD_OUT_NODES = ("spec.dataset.validation", "spec.dataset.test")
_DROPPED = frozenset({"title", "additionalProperties", "$defs", "discriminator"})

PRINTER_COLUMNS = (
    ("Status", "string", ".status.display.status", 0, "Where the run is"),
    ("Progress", "string", ".status.display.progress", 0, "Steps done"),
    ("Loss", "string", ".status.display.loss", 0, "Last training loss"),
    ("ETA", "string", ".status.display.eta", 0, "Time left"),
    ("GPUs", "integer", ".status.display.gpus", 0, "GPUs asked for"),
    ("Restarts", "integer", ".status.display.restarts", 0, "Attempts beyond the first"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since creation"),
    ("Model", "string", ".status.display.model", 1, "Base model"),
    ("Method", "string", ".status.display.method", 1, "How the weights change"),
    ("Eval", "string", ".status.display.eval", 1, "Base against tuned"),
    ("Nodes", "integer", ".status.display.nodes", 1, "Nodes asked for"),
    ("Checkpoint", "string", ".status.display.checkpoint", 1, "Newest verified checkpoint"),
    ("Reason", "string", ".status.display.reason", 1, "Why the status is what it is"),
)


class SchemaError(TypeError):
    """A model says something that a structural schema cannot express."""


def _structural(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
        branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
        if len(branches) != 1:
            raise SchemaError(f"{path}: a union of {len(branches)} types cannot be structural")
        rest = {k: v for k, v in node.items() if k not in {"anyOf", "default"}}
        return _structural({**branches[0], **rest}, definitions, path)
    values = node.get("additionalProperties")
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    for bound in ("Minimum", "Maximum"):
        exclusive = f"exclusive{bound}"
        if exclusive in result:
            result[bound.lower()] = result[exclusive]
            result[exclusive] = True
    if "properties" in result:
        required = result.get("required", ())
        result["properties"] = {
            name: _property(child, definitions, f"{path}.{name}", required=name in required)
            for name, child in result["properties"].items()
        }
    if "items" in result:
        result["items"] = _structural(result["items"], definitions, f"{path}[]")
    if isinstance(values, dict):
        result["additionalProperties"] = _structural(values, definitions, f"{path}.*")
    result.pop("propertyNames", None)
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    return result


def _property(raw: Schema, definitions: dict[str, Schema], path: str, *, required: bool) -> Schema:
    """A field. A block that may be left out defaults to `{}`, so that rules always find it."""
    node = _structural(raw, definitions, path)
    if not required and "anyOf" not in raw and "properties" in node:
        node["default"] = {}
    return node


def schema_of(model: type[Document], path: str) -> Schema:
    """The structural schema of one document, without rules."""
    raw = model.model_json_schema(by_alias=True)
    return _structural(raw, raw.get("$defs", {}), path)


def _node(root: Schema, path: str) -> Schema:
    node = root
    for part in path.split(".") if path else ():
        node = node["properties"][part]
    return node


def _attach_rules(root: Schema) -> None:
    every: tuple[Rule | TransitionRule, ...] = rules.RULES + rules.TRANSITION_RULES
    for rule in every:
        nodes = HELD_OUT_NODES if rule.scope == "spec.dataset.heldOut" else (rule.scope,)
        for path in nodes:
            validations = _node(root, path).setdefault("x-kubernetes-validations", [])
            validations.append({"rule": rule.cel, "message": rule.message})


def open_api_schema() -> Schema:
    """The schema of a whole FineTuneJob object, rules included."""
    root: Schema = {
        "type": "object",
        "description": "A fine-tuning run: from a base model and a dataset to a tuned model.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": schema_of(FineTuneJobSpec, "spec"),
            "status": schema_of(FineTuneJobStatus, "status"),
        },
    }
    _attach_rules(root)
    return root


def custom_resource_definition() -> dict[str, Any]:
    """The CRD as an object ready for `kubectl apply`."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "priority": priority, "description": about}
        for name, kind, path, priority, about in PRINTER_COLUMNS
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["ftj"],
                "categories": ["finetune"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": open_api_schema()},
                }
            ],
        },
    }
