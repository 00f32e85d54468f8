"""What a kind of storage must be able to do; S3 and local folders both do."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from finetune_trainer.storage.uris import Location

Buffer = bytes | memoryview
CHUNK = 1 << 20
"""Bytes that are read, hashed and written at once."""


@dataclass(frozen=True)
class ObjectInfo:
    """One object; ``key_relative`` is its path below the address that was listed."""

    uri: str
    key_relative: str
    size: int
    etag: str = ""


class Backend(Protocol):
    """Calls of one kind of storage. Errors are already sentences (`JobError`)."""

    def list(self, location: Location) -> list[ObjectInfo]:
        """Objects below a folder, or exactly the one object; empty when there is none."""
        ...

    def read(self, location: Location) -> bytes | None:
        """The whole of a small object; None when it does not exist."""
        ...

    def read_start(self, location: Location, size: int) -> bytes:
        """At most the first ``size`` bytes of an object that exists."""
        ...

    def write(self, location: Location, data: bytes, *, if_absent: bool) -> bool:
        """Write a small object; False when ``if_absent`` and it existed."""
        ...

    def delete(self, location: Location) -> None:
        """Remove one object; no error when it is gone already."""
        ...

    def forget_folder(self, location: Location) -> None:
        """Remove what there is of a folder without objects."""
        ...

    def stream(self, location: Location) -> Iterator[Buffer]:
        """The object's bytes in chunks of bounded size."""
        ...

    def send(self, source: Path, location: Location, chunks: Iterator[bytes], size: int) -> None:
        """Store a file's bytes, which ``chunks`` yields; atomic; checked by the server."""
        ...

    def abort_stale_uploads(self, location: Location) -> int:
        """Abort unfinished uploads below a folder that only this run writes."""
        ...
