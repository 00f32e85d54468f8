"""The base of every document of the contract: camelCase on the wire, frozen, documented.

Unknown fields are errors by default (a typo must be seen). A reader that has to survive a newer
writer passes ``extra="ignore"`` to ``model_validate``: the operator reading a job, the trainer
reading its configuration.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema
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

    def to_wire(self) -> dict[str, Any]:
        """The document as it travels: camelCase names, nothing that was left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def _quantity_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Uri = Annotated[str, StringConstraints(min_length=6, max_length=1024)]
ObjectUri = Annotated[Uri, StringConstraints(pattern=r"^(s3|file)://[^ ]+$")]
FolderUri = Annotated[Uri, StringConstraints(pattern=r"^(s3|file)://[^ ]+/$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=253)]

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

Quantity = Annotated[
    str,
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=32),
    BeforeValidator(_quantity_text),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
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
