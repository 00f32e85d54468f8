"""The Hugging Face hub as a place to read from: `hf://org/name@revision/path`, and
`hf://datasets/org/name@revision/path`.

A listing resolves the revision to a commit, and its objects are addressed by that commit: files of
two commits never mix.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.errors import JobError, UserError
from finetune_trainer.storage.backend import CHUNK, Buffer, ObjectInfo
from finetune_trainer.storage.faults import PlaceError, UnreachableError
from finetune_trainer.storage.uris import Location, parse

TOKEN = "HF_TOKEN"  # noqa: S105  (a file's name)
DATASETS = "datasets/"
BROKEN_SERVER = 500
TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Place:
    """Where in the hub an address points."""

    kind: str
    repository: str
    revision: str
    path: str

    @classmethod
    def of(cls, location: Location) -> "Place":
        """PlaceError when the address names no repository."""
        key = location.key
        kind = "dataset" if key.startswith(DATASETS) else "model"
        owner, _, rest = key.removeprefix(DATASETS).partition("/")
        name, _, path = rest.partition("/")
        name, _, revision = name.partition("@")
        if not owner or not name:
            raise PlaceError(
                f"{location.uri} names no repository of the hub",
                "write hf://org/name/ or hf://datasets/org/name/, with @revision after the name",
            )
        return cls(kind, f"{owner}/{name}", revision or "main", path)

    def uri(self, commit: str, path: str) -> str:
        """The address of a file at a commit."""
        prefix = DATASETS if self.kind == "dataset" else ""
        return f"hf://{prefix}{self.repository}@{commit}/{path}"


def loadable(uri: str) -> tuple[str, str | None]:
    """A model's address as other programs know it: the hub's own name and revision, else the
    address itself."""
    location = parse(uri)
    if location.scheme != "hf":
        return uri, None
    place = Place.of(location)
    return place.repository, place.revision


class HubBackend:
    """Reads with huggingface_hub; nothing is ever written."""

    def __init__(self, token_folder: Path | None) -> None:
        from huggingface_hub import HfApi

        self._has_secret = token_folder is not None
        self._api = HfApi(token=_token(token_folder))

    def list(self, location: Location) -> list[ObjectInfo]:
        """Files below a folder, or the one file."""
        from huggingface_hub.hf_api import RepoFile

        place = Place.of(location)
        with self._told(location):
            info = self._api.repo_info(
                place.repository, repo_type=place.kind, revision=place.revision
            )
            tree = self._api.list_repo_tree(
                place.repository, repo_type=place.kind, revision=info.sha, recursive=True
            )
            files = [entry for entry in tree if isinstance(entry, RepoFile)]
        if not location.is_folder:
            found = [file for file in files if file.path == place.path]
            names = [place.path.rpartition("/")[2] for _ in found]
        else:
            found = [file for file in files if file.path.startswith(place.path)]
            names = [file.path.removeprefix(place.path) for file in found]
        return [
            ObjectInfo(place.uri(str(info.sha), file.path), name, file.size, _etag(file))
            for file, name in zip(found, names, strict=True)
        ]

    def read(self, location: Location) -> bytes | None:
        """The whole of a small file."""
        return b"".join(self.stream(location))

    def read_start(self, location: Location, size: int) -> bytes:
        """The file's first bytes."""
        return b"".join(self._get(location, {"Range": f"bytes=0-{size - 1}"}))[:size]

    def stream(self, location: Location) -> Iterator[Buffer]:
        """The file in chunks."""
        return self._get(location, {})

    def _get(self, location: Location, headers: dict[str, str]) -> Iterator[bytes]:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        place = Place.of(location)
        url = hf_hub_url(
            place.repository, place.path, repo_type=place.kind, revision=place.revision,
            endpoint=self._api.endpoint,
        )  # fmt: skip
        headers = {**build_hf_headers(token=self._api.token), **headers}
        with (
            self._told(location),
            get_session().stream("GET", url, headers=headers, follow_redirects=True) as answer,
        ):
            if answer.is_error:
                answer.read()
            hf_raise_for_status(answer)
            yield from answer.iter_bytes(CHUNK)

    def write(self, location: Location, data: bytes, *, if_absent: bool) -> bool:
        """Refused."""
        raise _read_only(location)

    def delete(self, location: Location) -> None:
        """Refused."""
        raise _read_only(location)

    def forget_folder(self, location: Location) -> None:
        """Refused."""
        raise _read_only(location)

    def send(self, source: Path, location: Location, chunks: Iterator[bytes], size: int) -> None:
        """Refused."""
        raise _read_only(location)

    def abort_stale_uploads(self, location: Location) -> int:
        """Nothing is ever uploaded."""
        return 0

    @contextmanager
    def _told(self, location: Location) -> Iterator[None]:
        """Errors of the hub as sentences."""
        from httpx2 import TransportError
        from huggingface_hub import errors

        try:
            yield
        except errors.HfHubHTTPError as error:
            raise self._sentence(error, location) from error
        except errors.OfflineModeIsEnabled as error:
            raise UserError(
                f"{location.uri} cannot be read: HF_HUB_OFFLINE forbids it", "unset HF_HUB_OFFLINE"
            ) from error
        except TransportError as error:
            raise UnreachableError(
                f"the hub at {self._api.endpoint} was not reached for {location.uri}: {error}",
                "check that pods may reach it, or copy the files into the bucket",
            ) from error

    def _sentence(self, error: Any, location: Location) -> JobError:
        from huggingface_hub import errors

        uri, place = location.uri, Place.of(location)
        with_token = (
            f"give the Secret of model.secretName an {TOKEN} of an account that may read it"
            if self._has_secret
            else f"name a Secret with the {TOKEN} of an account that may read it in "
            "model.secretName"
        )
        if isinstance(error, errors.GatedRepoError):
            return PlaceError(
                f"{uri} is gated", f"ask for access on its page of the hub, and {with_token}"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return PlaceError(
                f"{place.repository} has no revision {place.revision!r}", "correct what follows @"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return PlaceError(
                f"{uri} does not exist on the hub, or is private",
                f"correct the uri; if it is private, {with_token}",
            )
        if isinstance(error, errors.EntryNotFoundError):
            return PlaceError(f"{uri} does not exist", "correct the uri in the job")
        status = error.response.status_code
        text = f"the hub at {self._api.endpoint} answered {status} for {uri}"
        if status >= BROKEN_SERVER or status == TOO_MANY_REQUESTS:
            return UnreachableError(text, "wait, or copy the files into the bucket")
        return UserError(text, f"correct the uri, or {with_token}")


def _etag(file: Any) -> str:
    """SHA-256 of a large file; a small one's git hash, which is not that of its bytes alone."""
    return str(file.lfs.sha256 if file.lfs is not None else file.blob_id)


def _token(folder: Path | None) -> str | None:
    """The mounted token; without a Secret the library looks where it always does."""
    if folder is None:
        return None
    try:
        token = (folder / TOKEN).read_text().strip()
    except OSError:
        token = ""
    if not token:
        raise UserError(
            f"the Secret of model.secretName has no {TOKEN}", "put the account's token into it"
        )
    return token


def _read_only(location: Location) -> UserError:
    return UserError(f"{location.uri}: the hub is only read from", "name a bucket in output.uri")
