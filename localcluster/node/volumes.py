"""The volumes of a pod as folders of this machine, filled and kept current."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcluster.node.api import Api
from localcluster.node.environment import ConfigError, Sources
from localcluster.node.fields import Fields

Files = dict[str, tuple[bytes, int]]
"""Content and mode by relative path."""
DEFAULT_MODE = 0o644


class Volumes:
    """All volumes of one pod. ``refresh`` may be called as often as one likes."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api, self._folder = api, folder
        self._published: dict[str, Files] = {}
        self._tokens: dict[tuple[str, str], tuple[bytes, float]] = {}

    async def refresh(self, fields: Fields) -> None:
        """Make folders, write what changed; raises ConfigError while something is missing."""
        for volume in fields.pod["spec"].get("volumes", []):
            folder = self._folder / volume["name"]
            folder.mkdir(parents=True, exist_ok=True)
            try:
                files = await self._files(volume, fields)
            except ConfigError as error:
                message = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                raise ConfigError(message) from error
            if files is not None and files != self._published.get(volume["name"]):
                publish(folder, files)
                self._published[volume["name"]] = files

    def mounts(self, container: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, str]:
        """Folder of the host by mountPath."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        result = {}
        for mount in container.get("volumeMounts", []):
            host_path = volumes[mount["name"]].get("hostPath", {}).get("path")
            folder = Path(host_path) if host_path else self._folder / mount["name"]
            if sub_path := mount.get("subPath"):
                folder /= sub_path
                if not folder.exists():
                    folder.mkdir(parents=True)
            result[mount["mountPath"]] = str(folder)
        return result

    async def _files(self, volume: dict[str, Any], fields: Fields) -> Files | None:
        """What a volume holds; None when pods write it themselves."""
        for kind in ("secret", "configMap", "downwardAPI", "projected"):
            if kind in volume:
                source = volume[kind]
                mode = source.get("defaultMode", DEFAULT_MODE)
                parts = source["sources"] if kind == "projected" else [{kind: source}]
                files: Files = {}
                for part in parts:
                    files |= await self._part(part, mode, fields)
                return files
        return None

    async def _part(self, part: dict[str, Any], mode: int, fields: Fields) -> Files:
        namespace = fields.pod["metadata"]["namespace"]
        match part:
            case {"secret": source}:
                entries = await Sources(self._api, namespace).entries("secrets", source)
                return _selected(entries or {}, source, mode)
            case {"configMap": source}:
                entries = await Sources(self._api, namespace).entries("configmaps", source)
                return _selected(entries or {}, source, mode)
            case {"downwardAPI": source}:
                return {
                    item["path"]: (_told(item, fields).encode(), item.get("mode", mode))
                    for item in source.get("items", [])
                }
            case {"serviceAccountToken": source}:
                return {source["path"]: (await self._token(source, fields), mode)}
        raise ConfigError(f"volume source {', '.join(part)} is not supported by this node")

    async def _token(self, source: dict[str, Any], fields: Fields) -> bytes:
        """A token bound to the pod; a new one when four fifths of its time are over."""
        key = (source["path"], source.get("audience", ""))
        token, renew_at = self._tokens.get(key, (b"", 0.0))
        if time.time() < renew_at:
            return token
        metadata = fields.pod["metadata"]
        seconds = source.get("expirationSeconds", 3600)
        bound = {
            "kind": "Pod",
            "apiVersion": "v1",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if source.get("audience"):
            spec["audiences"] = [source["audience"]]
        account = fields.field("spec.serviceAccountName")
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        answer = await self._api.post(path, {"spec": spec})
        token = answer["status"]["token"].encode()
        self._tokens[key] = (token, time.time() + 0.8 * seconds)
        return token


def publish(folder: Path, files: Files) -> None:
    """Replace the content of a folder at once, as the kubelet does.

    Files are links through `..data`, a link to a folder of one generation: a reader that opens two
    files after the switch never sees an old one beside a new one.
    """
    generation = folder / f"..{time.time_ns()}"
    for relative, (content, mode) in files.items():
        path = generation / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    generation.mkdir(exist_ok=True)
    switch = folder / "..data_new"
    switch.unlink(missing_ok=True)
    switch.symlink_to(generation.name)
    os.replace(switch, folder / "..data")
    tops = {relative.split("/")[0] for relative in files}
    for entry in folder.iterdir():
        if entry.name.startswith(".."):
            if entry.name not in {"..data", generation.name}:
                shutil.rmtree(entry)
        elif entry.name not in tops:
            entry.unlink()
    for top in tops:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")


def _selected(entries: Mapping[str, bytes], source: dict[str, Any], mode: int) -> Files:
    if "items" not in source:
        return {key: (content, mode) for key, content in entries.items()}
    files: Files = {}
    for item in source["items"]:
        if item["key"] in entries:
            files[item["path"]] = (entries[item["key"]], item.get("mode", mode))
        elif not source.get("optional"):
            raise ConfigError(f"references non-existent key: {item['key']}")
    return files


def _told(item: dict[str, Any], fields: Fields) -> str:
    if "fieldRef" in item:
        return fields.field(item["fieldRef"]["fieldPath"])
    return fields.resource(item["resourceFieldRef"], item["resourceFieldRef"]["containerName"])
