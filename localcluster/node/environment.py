"""The variables of a container: from its image, from ConfigMaps and Secrets, from itself."""

import base64
import re
from typing import Any

from localcluster.node.api import Api
from localcluster.node.fields import Fields

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


class ConfigError(Exception):
    """Something that a container's configuration names is missing; it may still arrive."""


def expand(text: str, variables: dict[str, str]) -> str:
    """`$(NAME)` becomes its value, `$$` a dollar sign; unknown names stay as they are."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else variables.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def decoded(kind: str, item: dict[str, Any]) -> dict[str, bytes]:
    """The entries of a Secret or ConfigMap."""
    if kind == "secrets":
        return {key: base64.b64decode(text) for key, text in (item.get("data") or {}).items()}
    entries = {key: text.encode() for key, text in (item.get("data") or {}).items()}
    binary = item.get("binaryData") or {}
    return entries | {key: base64.b64decode(text) for key, text in binary.items()}


class Sources:
    """Reads Secrets and ConfigMaps of one namespace, live: a cached one could be too old."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    async def entries(self, kind: str, reference: dict[str, Any]) -> dict[str, bytes] | None:
        """All entries; None when the object is missing and may be."""
        name = reference.get("name") or reference.get("secretName")
        item = await self._api.find(f"/api/v1/namespaces/{self._namespace}/{kind}/{name}")
        if item is not None:
            return decoded(kind, item)
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.removesuffix("s")} "{name}" not found')

    async def entry(self, kind: str, reference: dict[str, Any]) -> str | None:
        """One entry as text; None when it is missing and may be."""
        entries = await self.entries(kind, reference)
        if entries is not None and reference["key"] in entries:
            return entries[reference["key"]].decode()
        if reference.get("optional"):
            return None
        name, key = reference["name"], reference["key"]
        raise ConfigError(f"couldn't find key {key} in {kind.removesuffix('s')} {name}")


async def variables(container: dict[str, Any], fields: Fields, sources: Sources) -> dict[str, str]:
    """What the pod says; later entries win and may refer to earlier ones."""
    result: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for key, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if key in source:
                entries = await sources.entries(kind, source[key]) or {}
                prefix = source.get("prefix", "")
                result |= {prefix + name: value.decode() for name, value in entries.items()}
    for variable in container.get("env", []):
        value = await _value(variable, result, container, fields, sources)
        if value is not None:
            result[variable["name"]] = value
    return result


async def _value(
    variable: dict[str, Any],
    earlier: dict[str, str],
    container: dict[str, Any],
    fields: Fields,
    sources: Sources,
) -> str | None:
    match variable.get("valueFrom") or {}:
        case {"fieldRef": reference}:
            return fields.field(reference["fieldPath"])
        case {"resourceFieldRef": reference}:
            return fields.resource(reference, container["name"])
        case {"configMapKeyRef": reference}:
            return await sources.entry("configmaps", reference)
        case {"secretKeyRef": reference}:
            return await sources.entry("secrets", reference)
        case _:
            return expand(variable.get("value", ""), earlier)
