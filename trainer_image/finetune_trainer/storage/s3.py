"""S3: control calls by boto3 (list, read, conditional put), bulk bytes by obstore.

Transient answers are retried with full jitter up to a limit; a storage that has never answered
gets a short limit, because then the address is most likely wrong.
"""

import base64
import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.config
import botocore.exceptions as failures
import obstore
import obstore.exceptions
from obstore.store import S3Store

from finetune_api.defaults import REGION
from finetune_api.job import Addressing, Storage
from finetune_trainer.storage import faults
from finetune_trainer.storage.backend import CHUNK, Buffer, ObjectInfo
from finetune_trainer.storage.credentials import (
    ChainCredentials,
    FileCredentials,
    obstore_provider,
)
from finetune_trainer.storage.trust import Authorities, authorities
from finetune_trainer.storage.uris import Location

T = TypeVar("T")
PATIENCE_SECONDS = 300.0
FIRST_PATIENCE_SECONDS = 10.0
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Where boto3 looks as well, for runs on a laptop."""
PART = 8 << 20
PARTS_AT_ONCE = 4
UNTRUSTED = (failures.SSLError,)
UNREACHED = (failures.EndpointConnectionError, failures.ConnectTimeoutError,
             failures.ReadTimeoutError, failures.ConnectionClosedError,
             failures.ProxyConnectionError, failures.HTTPClientError)  # fmt: skip
BULK_ERRORS = (obstore.exceptions.BaseError, OSError)
"""obstore raises built-in errors as well: FileNotFoundError, PermissionError."""


def _code(error: failures.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


class S3Backend:
    """One S3-compatible server; clients are made anew when the credentials change."""

    def __init__(
        self,
        storage: Storage,
        credentials: Path | None,
        *,
        ca: Path | None = None,
        proven: bool = False,
    ) -> None:
        self.storage = storage
        self.session = boto3.Session()
        self.region = storage.region or self.session.region_name or REGION
        self.given = storage.endpoint or next(filter(None, map(os.environ.get, ENDPOINTS)), None)
        self.endpoint = self.given or f"https://s3.{self.region}.amazonaws.com"
        self.source: FileCredentials | ChainCredentials = (
            FileCredentials(credentials, storage.secret_name or "")
            if credentials
            else ChainCredentials(self.session)
        )
        self.ca = ca
        self.proven = proven
        self.reached = proven
        self._lock = threading.Lock()
        self._client: tuple[Any, Any] = (None, None)
        self._bulk: dict[str, tuple[Authorities, S3Store]] = {}

    @property
    def virtual(self) -> bool:
        """Whether the bucket is part of the host name."""
        if self.storage.addressing is Addressing.AUTO:
            return self.given is None
        return self.storage.addressing is Addressing.VIRTUAL

    def client(self) -> Any:
        """The control client, for the credentials and authorities as they are now."""
        keys, trusted = self.source.current(), authorities(self.ca, self.storage.ca_secret_name)
        with self._lock:
            if self._client[0] != (keys, trusted):
                config = botocore.config.Config(
                    s3={"addressing_style": "virtual" if self.virtual else "path"},
                    retries={"mode": "standard", "total_max_attempts": 1},
                    connect_timeout=5,
                    read_timeout=30,
                    max_pool_connections=16,
                )
                client = self.session.client(
                    "s3",
                    endpoint_url=self.given,
                    region_name=self.region,
                    aws_access_key_id=keys.key_id,
                    aws_secret_access_key=keys.secret,
                    aws_session_token=keys.token,
                    verify=str(trusted.path) if trusted.path else None,
                    config=config,
                )
                self._client = ((keys, trusted), client)
            return self._client[1]

    def bulk(self, bucket: str) -> S3Store:
        """The bulk client of a bucket."""
        trusted = authorities(self.ca, self.storage.ca_secret_name)
        with self._lock:
            if bucket not in self._bulk or self._bulk[bucket][0] != trusted:
                options: dict[str, Any] = {"allow_http": True, "timeout": timedelta(seconds=300)}
                if trusted.certificates:
                    options["root_certificate"] = trusted.certificates
                config: dict[str, Any] = {
                    "region": self.region,
                    "virtual_hosted_style_request": self.virtual,
                    "checksum_algorithm": "SHA256",
                }
                if self.given:
                    endpoint = self.given.rstrip("/")
                    if self.virtual:
                        scheme, _, host = endpoint.partition("://")
                        endpoint = f"{scheme}://{bucket}.{host}"
                    config["endpoint"] = endpoint
                store = S3Store(
                    bucket,
                    config=config,
                    client_options=options,
                    retry_config={
                        "max_retries": 10,
                        "retry_timeout": timedelta(seconds=PATIENCE_SECONDS),
                        "backoff": {
                            "init_backoff": timedelta(milliseconds=200),
                            "max_backoff": timedelta(seconds=20),
                            "base": 2,
                        },
                    },
                    credential_provider=obstore_provider(self.source),
                )
                self._bulk[bucket] = (trusted, store)
            return self._bulk[bucket][1]

    def where(self, location: Location) -> faults.Where:
        """The place of a call, for its error."""
        return faults.Where(
            location.bucket,
            location.key,
            self.endpoint,
            self.region,
            secret=self.storage.secret_name or "",
        )

    def call(self, location: Location, operation: Callable[[Any], T]) -> T:
        """Run a control call; retry what may pass, say the rest as a sentence."""
        begin = time.monotonic()
        delay = 0.2
        while True:
            try:
                result = operation(self.client())
                self.reached = True
                return result
            except failures.ClientError as error:
                code = _code(error)
                if code not in faults.TRANSIENT_CODES | faults.DIGEST_CODES:
                    raise
                self.reached = True
                why = f"it answers {code}"
            except UNTRUSTED as error:
                raise faults.untrusted(error, self.where(location)) from error
            except UNREACHED as error:
                why = faults.silence(error, self.where(location))
            except RecursionError as error:  # boto3 follows a redirect that leads nowhere for ever
                raise faults.sentence("PermanentRedirect", "", self.where(location)) from error
            waited = time.monotonic() - begin
            limit = PATIENCE_SECONDS if self.reached else FIRST_PATIENCE_SECONDS
            if waited > limit:
                raise faults.unreachable(self.where(location), why, waited, proven=self.proven)
            time.sleep(random.uniform(0, delay))  # noqa: S311  (jitter)
            delay = min(delay * 2, 20.0)

    def told(self, location: Location, operation: Callable[[Any], T]) -> T:
        """`call`, with S3's own errors as sentences."""
        try:
            return self.call(location, operation)
        except failures.ClientError as error:
            raise self._control_error(error, location) from error

    def list(self, location: Location) -> list[ObjectInfo]:
        """Objects below the folder; a name without a slash matches only itself."""

        def pages(client: Any) -> list[dict[str, Any]]:
            paginator = client.get_paginator("list_objects_v2")
            found: list[dict[str, Any]] = []
            for page in paginator.paginate(Bucket=location.bucket, Prefix=location.key):
                if "Name" not in page:
                    raise faults.not_s3(self.where(location), "something else than a list")
                found += page.get("Contents", [])
                if not location.is_folder:
                    break
            return found

        cut = len(location.key) if location.is_folder else location.key.rfind("/") + 1
        return [
            ObjectInfo(f"s3://{location.bucket}/{o['Key']}", o["Key"][cut:], o["Size"], o["ETag"])
            for o in self.told(location, pages)
            if (location.is_folder or o["Key"] == location.key) and not o["Key"].endswith("/")
        ]

    def read(self, location: Location) -> bytes | None:
        """A small object's bytes."""

        def get(client: Any) -> bytes:
            answer = client.get_object(Bucket=location.bucket, Key=location.key)
            return bytes(answer["Body"].read())

        try:
            return self.call(location, get)
        except failures.ClientError as error:
            if _code(error) == "NoSuchKey":
                return None
            raise self._control_error(error, location) from error

    def read_start(self, location: Location, size: int) -> bytes:
        """An object's first bytes."""

        def get(client: Any) -> bytes:
            answer = client.get_object(
                Bucket=location.bucket, Key=location.key, Range=f"bytes=0-{size - 1}"
            )
            return bytes(answer["Body"].read())

        return self.told(location, get)

    def write(self, location: Location, data: bytes, *, if_absent: bool) -> bool:
        """Put a small object; a server without conditional puts is asked first."""
        if if_absent and self.list(location):
            return False
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()

        def put(client: Any) -> bool:
            client.put_object(
                Bucket=location.bucket, Key=location.key, Body=data,
                ChecksumSHA256=checksum, **condition,
            )  # fmt: skip
            return True

        try:
            return self.call(location, put)
        except failures.ClientError as error:
            code = _code(error)
            if if_absent and code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                return self.read(location) == data
            if if_absent and code == "NotImplemented":
                return self.write(location, data, if_absent=False)
            raise self._control_error(error, location) from error

    def delete(self, location: Location) -> None:
        """Remove one object."""
        self.told(
            location, lambda client: client.delete_object(Bucket=location.bucket, Key=location.key)
        )

    def forget_folder(self, location: Location) -> None:
        """Nothing: a prefix without objects is none."""

    def stream(self, location: Location) -> Iterator[Buffer]:
        """The object's bytes; obstore takes up again after a reset."""
        try:
            answer = obstore.get(self.bulk(location.bucket), location.key)
            yield from map(memoryview, answer.stream(min_chunk_size=CHUNK))
        except BULK_ERRORS as error:
            raise self._bulk_error(error, location) from error

    def send(self, source: Path, location: Location, chunks: Iterator[bytes], size: int) -> None:
        """Upload; the server checks the sha256 of the object or of each part."""
        try:
            if size <= PART:
                obstore.put(
                    self.bulk(location.bucket), location.key, b"".join(chunks), use_multipart=False
                )
            else:
                part = max(PART, -(-size // 9000))
                obstore.put(
                    self.bulk(location.bucket), location.key, chunks,
                    chunk_size=part, max_concurrency=PARTS_AT_ONCE,
                )  # fmt: skip
        except BULK_ERRORS as error:
            raise self._bulk_error(error, location) from error

    def _control_error(self, error: failures.ClientError, location: Location) -> Exception:
        """S3 answers every control call with a document; a bare status is somebody else's."""
        code, where = _code(error), self.where(location)
        if (not code or code.isdigit()) and code not in faults.REGION_CODES:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", code)
            return faults.not_s3(where, f"HTTP status {status} and no S3 error")
        detail = str(error.response.get("Error", {}).get("Message", ""))
        return faults.sentence(code, detail, where)

    def _bulk_error(self, error: Exception, location: Location) -> Exception:
        text = " ".join(str(error).split())
        code = faults.code_of_text(text)
        if not code and "error sending request" in text:
            where, waited = self.where(location), re.search(r" in ([\d.]+)s", text)
            why, seconds = faults.silence(error, where), float(waited[1]) if waited else 0.0
            return faults.unreachable(where, why, seconds, proven=self.proven)
        if isinstance(error, obstore.exceptions.NotFoundError | FileNotFoundError):
            code = code or "NoSuchKey"
        return faults.sentence(code, text, self.where(location))

    def abort_stale_uploads(self, location: Location) -> int:
        """Abort all unfinished uploads below the folder."""

        def abort(client: Any) -> int:
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=location.bucket, Prefix=location.key
            )
            stale = [upload for page in pages for upload in page.get("Uploads", [])]
            for upload in stale:
                client.abort_multipart_upload(
                    Bucket=location.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
            return len(stale)

        return self.told(location, abort)
