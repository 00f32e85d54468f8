"""Local folders as storage: the same calls on `file://`, for laptops, mounts and tests."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from finetune_api.errors import JobError, StorageError, UserError
from finetune_trainer.storage.backend import CHUNK, Buffer, ObjectInfo
from finetune_trainer.storage.uris import Location

TEMPORARY = ".part-"
"""In the names of files that are being written; listings leave them out."""


def _error(error: OSError, location: Location) -> JobError:
    text = f"{location.uri}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return UserError(f"{text}", "give this user access to the folder")
    return StorageError(text, "free space or repair the disk")


def temporary_name(path: Path) -> Path:
    """A hidden name next to ``path`` for its unfinished bytes."""
    return path.with_name(f".{path.name}{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}")


class FolderBackend:
    """`file://` addresses."""

    def list(self, location: Location) -> list[ObjectInfo]:
        """Files below a folder, or the one file."""
        path = location.path
        if not location.is_folder:
            if not path.is_file():
                return []
            return [ObjectInfo(location.uri, path.name, path.stat().st_size)]
        found = []
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                file = Path(folder, name)
                if TEMPORARY in name:
                    continue
                relative = file.relative_to(path).as_posix()
                with contextlib.suppress(FileNotFoundError):
                    uri = f"{location.uri}{relative}"
                    found.append(ObjectInfo(uri, relative, file.stat().st_size))
        return found

    def read(self, location: Location) -> bytes | None:
        """The file's bytes."""
        try:
            return location.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _error(error, location) from error

    def read_start(self, location: Location, size: int) -> bytes:
        """The file's first bytes."""
        try:
            with location.path.open("rb") as file:
                return file.read(size)
        except OSError as error:
            raise _error(error, location) from error

    def write(self, location: Location, data: bytes, *, if_absent: bool) -> bool:
        """Write through a temporary file; a hard link gives `if_absent` its one winner."""
        path = location.path
        temporary = temporary_name(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if not if_absent:
                temporary.replace(path)
                return True
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            return True
        except OSError as error:
            raise _error(error, location) from error
        finally:
            temporary.unlink(missing_ok=True)

    def delete(self, location: Location) -> None:
        """Remove the file."""
        location.path.unlink(missing_ok=True)

    def forget_folder(self, location: Location) -> None:
        """Remove the folder and the empty ones below it; it stays where a file has come."""
        for folder, _, _ in os.walk(location.path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def stream(self, location: Location) -> Iterator[Buffer]:
        """The file in chunks."""
        try:
            with location.path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise _error(error, location) from error

    def send(self, source: Path, location: Location, chunks: Iterator[bytes], size: int) -> None:
        """Copy through a temporary file."""
        path = location.path
        temporary = temporary_name(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise _error(error, location) from error
        finally:
            temporary.unlink(missing_ok=True)

    def abort_stale_uploads(self, location: Location) -> int:
        """Remove temporary files that a killed process left."""
        stale = [p for p in location.path.rglob(f".*{TEMPORARY}*") if p.is_file()]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)
