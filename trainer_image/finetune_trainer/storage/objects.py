"""The one door to storage: `ObjectStore` takes `s3://`, `hf://` and `file://` addresses alike."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_api.errors import UserError
from finetune_api.job import Storage
from finetune_trainer.storage.backend import Backend, Buffer, ObjectInfo
from finetune_trainer.storage.faults import PlaceError
from finetune_trainer.storage.folder import FolderBackend
from finetune_trainer.storage.uris import Location, parse

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]

PRIVATE = (Path("/proc"), Path("/var/run/secrets"), Path("/run/secrets"))
"""Where a pod keeps its environment and tokens. Who writes a job may not be allowed to read them,
and errors about data quote the data."""


class ObjectStore:
    """Control calls on objects; `transfer` moves files with it."""

    def __init__(
        self,
        storage: Storage,
        credentials_dir: Path | None = None,
        ca: Path | None = None,
        hub_token_dir: Path | None = None,
    ) -> None:
        self.storage = storage
        self.credentials_dir = credentials_dir
        self.ca = ca
        self.hub_token_dir = hub_token_dir
        self._folder = FolderBackend()
        self._s3: Backend | None = None
        self._hub: Backend | None = None
        self.proven = False
        """Whether this storage has worked before for this job: then silence is an outage, which
        is waited for, and not a wrong address."""

    def backend(self, location: Location) -> Backend:
        """The kind of storage of an address; S3 clients are made when first needed."""
        if location.scheme == "file":
            self._refuse_private(location)
            return self._folder
        if location.scheme == "hf":
            if self._hub is None:
                from finetune_trainer.storage.hub import HubBackend

                self._hub = HubBackend(self.hub_token_dir)
            return self._hub
        if self._s3 is None:
            from finetune_trainer.storage.s3 import S3Backend  # a laptop run may never need it

            self._s3 = S3Backend(self.storage, self.credentials_dir, ca=self.ca, proven=self.proven)
        return self._s3

    def _refuse_private(self, location: Location) -> None:
        path = location.path.resolve()
        for place in filter(None, (*PRIVATE, self.credentials_dir, self.hub_token_dir)):
            secret = place.resolve()
            if path.is_relative_to(secret) or secret.is_relative_to(path):
                raise UserError(
                    f"{location.uri} is refused: {place} holds secrets of the pod",
                    "name a folder of data",
                )

    def list(self, uri: str, *, required: bool = True) -> list[ObjectInfo]:
        """Objects below `…/`, or exactly the one object; none is an error unless allowed."""
        location = parse(uri)
        found = self.backend(location).list(location)
        if required and not found:
            at = ""
            if location.scheme == "s3" and self.storage.endpoint:
                at = f" at {self.storage.endpoint}"
            what = "holds no objects" if location.is_folder else "does not exist"
            raise PlaceError(f"{uri} {what}{at}", "correct the uri in the job, or upload the files")
        return found

    def exists(self, uri: str) -> bool:
        """Whether the object, or anything below the folder, exists."""
        return bool(self.list(uri, required=False))

    def read_bytes(self, uri: str) -> bytes:
        """The whole of a small object; a user error when it does not exist."""
        location = parse(uri)
        data = self.backend(location).read(location)
        if data is None:
            raise UserError(f"{uri} does not exist", "correct the uri in the job")
        return data

    def read_start(self, uri: str, size: int) -> bytes:
        """At most the first ``size`` bytes of an object that exists."""
        location = parse(uri)
        return self.backend(location).read_start(location, size)

    def read_json(self, uri: str) -> dict[str, Any] | None:
        """A JSON object; None when it does not exist."""
        location = parse(uri)
        data = self.backend(location).read(location)
        if data is None:
            return None
        try:
            document = json.loads(data)
        except ValueError as error:
            raise UserError(f"{uri} is not JSON: {error}", "remove this damaged object") from error
        if not isinstance(document, dict):
            raise UserError(f"{uri} is not a JSON object", "remove this damaged object")
        return document

    def write_json(self, uri: str, document: dict[str, Any], *, if_absent: bool = False) -> bool:
        """Write a JSON object; False when ``if_absent`` and another one is there."""
        location = parse(uri)
        data = json.dumps(document, indent=1, sort_keys=True).encode()
        return self.backend(location).write(location, data, if_absent=if_absent)

    def delete(self, uri: str) -> None:
        """Remove one object."""
        location = parse(uri)
        self.backend(location).delete(location)

    def forget_folder(self, uri: str) -> None:
        """Remove what storage keeps of an empty folder: a disk keeps the folder itself."""
        location = parse(uri)
        self.backend(location).forget_folder(location)

    def stream(self, uri: str) -> Iterator[Buffer]:
        """An object's bytes in chunks."""
        location = parse(uri)
        return self.backend(location).stream(location)

    def send(self, source: Path, uri: str, chunks: Iterator[bytes], size: int) -> None:
        """Store a file's bytes."""
        location = parse(uri)
        self.backend(location).send(source, location, chunks, size)

    def abort_stale_uploads(self, uri: str) -> int:
        """Abort unfinished uploads below a folder of this run."""
        location = parse(uri)
        return self.backend(location).abort_stale_uploads(location)


def open_store(
    storage: Storage,
    credentials_dir: Path | None = None,
    ca: Path | None = None,
    hub_token_dir: Path | None = None,
) -> ObjectStore:
    """A store for a job's storage; credentials come from the folder, else from boto3's chain;
    ``ca`` holds the certificates that the server's own is checked against; the hub's token comes
    from its folder, else from where its library looks."""
    return ObjectStore(storage, credentials_dir, ca, hub_token_dir)
