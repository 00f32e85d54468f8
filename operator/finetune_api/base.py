"""The base of every document of the contract: camelCase on the wire, frozen, documented.

Unknown fields are errors by default (a typo must be seen). A reader that has to survive a newer
writer passes ``extra="ignore"`` to ``model_validate``: the operator reading a job, the trainer
reading its configuration.
"""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

GROUP = "finetune.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FineTuneJob"
PLURAL = "finetunejobs"


class Document(BaseModel):
    """A frozen document with camelCase names; field docstrings are its user documentation."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """A known field that is null counts as left out, as the API server sees it."""
        if not isinstance(value, dict) or None not in value.values():
            return value
        known = {name for key, field in cls.model_fields.items() for name in (key, field.alias)}
        return {k: v for k, v in value.items() if v is not None or k not in known}

    def to_wire(self) -> dict[str, Any]:
        """The document as it travels: camelCase names, nothing that was left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def as_json(value: Any) -> Any:
    """The value as the API server reads it from JSON: a number without a fraction is an integer,
    and what JSON has no word for, as a date, is text."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _quantity_text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return str(value) if value <= QUANTITY_MAX else value


QUANTITY_MAX = 2**53
"""Largest quantity that may be written as a number instead of text."""
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

Quantity = Annotated[
    str,
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=32),
    BeforeValidator(_quantity_text),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "maximum": QUANTITY_MAX,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 32,
        }
    ),
]

_SUFFIXES = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


def quantity_value(quantity: str) -> float:
    """A Kubernetes quantity as a plain number: cores for CPU, bytes for memory."""
    digits = quantity.rstrip("mkMGTPi")
    return float(digits) * _SUFFIXES[quantity[len(digits) :]]
