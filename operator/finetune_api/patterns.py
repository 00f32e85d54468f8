"""How texts look: one pattern and one message each, for the API server and for the models alike.

What Kubernetes and the trainer accept: what they would refuse is refused here, before prepare has
run.
"""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_MAX = 40

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_LABEL_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = f"^({_DNS_NAME}/)?{_LABEL_NAME}$"
LABEL_KEY_MAX = 253


def cel_matches(subject: str, pattern: str) -> str:
    """The CEL that looks whether a text matches."""
    text = pattern.replace("\\", "\\\\")
    return f"{subject}.matches('{text}')"


@dataclass(frozen=True)
class Shape:
    """How a text looks: one pattern and one message for the API server and for the models, which
    would both quote the pattern otherwise."""

    pattern: str
    message: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        rule = {"rule": cel_matches("self", self.pattern), "message": self.message}
        return {**handler(schema), "x-kubernetes-validations": [rule]}

    def _check(self, text: str) -> str:
        if re.fullmatch(self.pattern[1:-1], text) is None:
            raise PydanticCustomError("shape", "{message}", {"message": self.message})
        return text


OBJECT = Shape(
    "^(s3|hf|file)://[^ ]+$", "must be s3://bucket/key, hf://datasets/org/name/ or file:///path"
)
FOLDER = Shape(
    "^(s3|hf|file)://[^ ]+/$",
    "must be a folder, s3://bucket/prefix/, hf://org/name/ or file:///path/, ending with /",
)
OUTPUT = Shape(
    "^(s3|file)://[^ ]+/$", "must be a folder, s3://bucket/prefix/ or file:///path/, ending with /"
)
ENDPOINT = Shape("^https?://[^ ]+$", "must be an address, https://host or http://host:port")
OBJECT_NAME = Shape(
    f"^{_DNS_NAME}$",
    "must be the name of an object: a-z, 0-9, '-' and '.', inside letters or digits",
)
LABEL_KEY_SHAPE = Shape(
    LABEL_KEY, "must be the name of a label or taint: letters, digits, '-', '_' and '.', "
    "after an optional domain and '/'",
)  # fmt: skip
LABEL_VALUE = Shape(
    f"^({_LABEL_NAME})?$", "must be the value of a label: letters, digits, '-', '_' and '.'"
)
RESOURCE_NAME = Shape(
    f"^{_DNS_NAME}/{_LABEL_NAME}$", "must be the name of a device, as nvidia.com/gpu"
)
SYNONYMS = Shape(
    "^[^ ,]+( [^ ,]+)*(, *[^ ,]+( [^ ,]+)*)+$",
    "must be two words or more with commas between them, as fast, quick",
)
SHAPES = (
    OBJECT, FOLDER, OUTPUT, ENDPOINT, OBJECT_NAME, LABEL_KEY_SHAPE, LABEL_VALUE, RESOURCE_NAME,
    SYNONYMS,
)  # fmt: skip
