"""Addresses of objects: `s3://bucket/key`, `hf://org/name@revision/path` and `file:///path`; a
trailing slash means a folder."""

from dataclasses import dataclass
from pathlib import Path

from finetune_api.errors import UserError


@dataclass(frozen=True)
class Location:
    """A parsed address. ``key`` is an absolute path for `file://`, and everything for `hf://`."""

    scheme: str
    bucket: str
    key: str

    @property
    def is_folder(self) -> bool:
        """Whether everything below is meant, not one object."""
        return self.key.endswith("/") or (self.scheme == "s3" and not self.key)

    @property
    def path(self) -> Path:
        """The local path of a `file://` address."""
        return Path(self.key)

    @property
    def uri(self) -> str:
        """The address as people write it."""
        if self.scheme == "hf":
            return f"hf://{self.key}"
        return f"{self.scheme}://{self.bucket}/{self.key.removeprefix('/')}"


def parse(uri: str) -> Location:
    """Split an address; a user error names what is wrong with it."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in ("s3", "hf", "file"):
        raise UserError(
            f"{uri!r} is not an address", "write s3://bucket/key, hf://org/name/ or file:///path"
        )
    if scheme == "hf":
        return Location(scheme, "", rest)
    bucket, _, key = rest.partition("/")
    if scheme == "s3" and not bucket:
        raise UserError(f"{uri!r} names no bucket", "write s3://bucket/key")
    if scheme == "file":
        if bucket not in ("", "localhost"):
            raise UserError(f"{uri!r} is not an absolute path", f"write file:///{rest}")
        return Location(scheme, "", "/" + key)
    return Location(scheme, bucket, key)


def join(folder: str, *parts: str) -> str:
    """An address below a folder's address."""
    return "/".join([folder.rstrip("/"), *parts])


def checked_relative(relative: str, uri: str) -> str:
    """Refuse keys that would leave the destination folder when they become a local path."""
    segments = relative.split("/")
    if "" in segments or "." in segments or ".." in segments or "\0" in relative:
        raise UserError(
            f"the object {uri} cannot become a local file: its name has an empty, '.' or '..' part",
            "rename or remove the object",
        )
    return relative
