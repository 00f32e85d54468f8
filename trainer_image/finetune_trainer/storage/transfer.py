"""Whole folders and files between storage and disk.

Every byte is hashed while it passes, so a flipped bit is seen; a file appears under its final name
only when it is complete and on disk. Memory is bounded by files at once × chunks, whatever the
sizes.
"""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from finetune_api.errors import StorageError
from finetune_trainer.storage.backend import CHUNK, Buffer, ObjectInfo
from finetune_trainer.storage.faults import DamagedObjectError
from finetune_trainer.storage.folder import TEMPORARY, temporary_name
from finetune_trainer.storage.manifest import FileRecord, hash_file
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.uris import checked_relative, join

DOWNLOADS_AT_ONCE = 6
UPLOADS_AT_ONCE = 3
TRIES = 3
CHUNKS_BEHIND = 4

Progress = Callable[[int, int], None]
"""Called with bytes moved and bytes in all."""


class _Meter:
    """Sums the bytes of several threads and tells the caller."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self.total = total
        self.moved = 0
        self._tell = on_progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.moved += count
            if self._tell:
                self._tell(self.moved, self.total)


def _plain_md5(etag: str) -> str:
    text = etag.strip('"')
    return text if len(text) == 32 and "-" not in text else ""


def _sha256(etag: str) -> str | None:
    """The content's hash where a store promises it: the hub does for large files."""
    text = etag.strip('"')
    return text if len(text) == 64 and text.isalnum() else None


def _fetch(
    store: ObjectStore, info: ObjectInfo, temporary: Path, meter: _Meter, *, md5: bool
) -> tuple[str, str, int]:
    """Stream one object into a temporary file; gives its sha256, its MD5 and its size.

    Hashing runs beside writing, one chunk behind the network.
    """
    strong = hashlib.sha256()
    weak = hashlib.md5(usedforsecurity=False) if md5 else None
    size = 0

    def digest(chunk: Buffer) -> None:
        strong.update(chunk)
        if weak:
            weak.update(chunk)

    with temporary.open("wb") as file, ThreadPoolExecutor(max_workers=1) as hasher:
        pending: deque[Future[None]] = deque()
        for chunk in store.stream(info.uri):
            pending.append(hasher.submit(digest, chunk))
            file.write(chunk)
            size += len(chunk)
            meter.add(len(chunk))
            while len(pending) > CHUNKS_BEHIND:
                pending.popleft().result()
        file.flush()
        os.fsync(file.fileno())
    return strong.hexdigest(), weak.hexdigest() if weak else "", size


def _download_one(
    store: ObjectStore, info: ObjectInfo, target: Path, expected: str | None, meter: _Meter
) -> FileRecord:
    """One object to its final name, or a `DamagedObjectError` when its bytes stay wrong.

    Without an expected sha256 a plain-MD5 ETag is the check. An ETag need not be an MD5
    (encryption), so bytes that arrive the same twice are taken.
    """
    expected = expected or _sha256(info.etag)
    if expected and target.is_file() and target.stat().st_size == info.size:
        record = hash_file(target, info.key_relative)
        if record.sha256 == expected:
            meter.add(info.size)
            return record
    target.parent.mkdir(parents=True, exist_ok=True)
    promised = "" if expected else _plain_md5(info.etag)
    seen: set[str] = set()
    problem = ""
    for _ in range(TRIES):
        temporary = temporary_name(target)
        try:
            sha256, md5, size = _fetch(store, info, temporary, meter, md5=bool(promised))
            if size != info.size:
                problem = f"{size} of {info.size} bytes arrived"
            elif expected and sha256 != expected:
                problem = f"its sha256 is {sha256[:16]}…, not {expected[:16]}…"
            elif promised and md5 != promised and sha256 not in seen:
                problem = "its bytes differ from its ETag"
                seen.add(sha256)
            else:
                temporary.replace(target)
                return FileRecord(info.key_relative, size, sha256)
            meter.add(-size)
        finally:
            temporary.unlink(missing_ok=True)
    raise DamagedObjectError(
        f"{info.uri} is damaged: {problem} ({TRIES} tries)",
        "upload the object again, or remove it so that an older one is used",
    )


def download(
    store: ObjectStore,
    uri: str,
    destination: Path,
    *,
    expected: Mapping[str, str] | None = None,
    select: Callable[[str], bool] | None = None,
    on_progress: Progress | None = None,
) -> list[FileRecord]:
    """Fetch a folder, or one object into the folder ``destination``.

    ``expected`` (relative path → sha256) is then exactly what is fetched and checked; files that
    are already there with that hash are kept. ``select`` narrows by relative path.
    """
    found = {o.key_relative: o for o in store.list(uri, required=expected is None)}
    wanted = [r for r in (expected if expected is not None else found) if not select or select(r)]
    missing = [r for r in wanted if r not in found]
    if missing:
        raise DamagedObjectError(
            f"{uri} lacks {len(missing)} of {len(wanted)} files, first {missing[0]}",
            "upload the missing files again",
        )
    meter = _Meter(sum(found[r].size for r in wanted), on_progress)
    destination.mkdir(parents=True, exist_ok=True)

    def one(relative: str) -> FileRecord:
        info = found[relative]
        target = destination / checked_relative(relative, info.uri)
        return _download_one(store, info, target, expected and expected[relative], meter)

    return _in_parallel(one, sorted(wanted), DOWNLOADS_AT_ONCE)


def _files_below(source: Path, exclude: Iterable[str]) -> list[tuple[str, Path]]:
    left_out = set(exclude)
    pairs = [(source.name, source)] if source.is_file() else []
    for folder, folders, files in os.walk(source):
        folders.sort()
        paths = [Path(folder, name) for name in sorted(files)]
        pairs += [(p.relative_to(source).as_posix(), p) for p in paths]
    return [(r, p) for r, p in pairs if r not in left_out and TEMPORARY not in p.name]


def _upload_one(store: ObjectStore, pair: tuple[str, Path], uri: str, meter: _Meter) -> FileRecord:
    """One file; the hash is of the bytes that were sent."""
    relative, path = pair
    digest = hashlib.sha256()
    size = path.stat().st_size
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                sent += len(chunk)
                yield chunk
                meter.add(len(chunk))

    store.send(path, join(uri, relative), chunks(), size)
    if sent != size:
        raise StorageError(f"{path} changed while it was uploaded", "this is a bug: report it")
    return FileRecord(relative, size, digest.hexdigest())


def copy(store: ObjectStore, record: FileRecord, source: str, target: str) -> None:
    """One file of a manifest from folder to folder, through memory, a chunk at a time."""
    where, sha256 = join(source, record.path), ""
    for _ in range(TRIES):
        digest = hashlib.sha256()

        def chunks(digest: Any = digest) -> Iterator[bytes]:
            for chunk in store.stream(where):
                digest.update(chunk)
                yield bytes(chunk)

        store.send(Path(record.path), join(target, record.path), chunks(), record.size)
        sha256 = digest.hexdigest()
        if sha256 == record.sha256:
            return
    raise DamagedObjectError(
        f"{where} is damaged: its sha256 is {sha256[:16]}…, not {record.sha256[:16]}…",
        "choose another checkpoint",
    )


def upload(
    store: ObjectStore,
    source: Path,
    uri: str,
    *,
    on_progress: Progress | None = None,
    exclude: Iterable[str] = (),
) -> list[FileRecord]:
    """Store a folder below ``uri`` (or one file below it, under its name).

    The hash is of the bytes that were sent; the server checks its own; sizes are listed after.
    """
    files = _files_below(source, exclude)
    if not files:
        raise StorageError(f"nothing to upload in {source}", "this is a bug: report it")
    meter = _Meter(sum(p.stat().st_size for _, p in files), on_progress)

    def one(pair: tuple[str, Path]) -> FileRecord:
        for last in (*[False] * (TRIES - 1), True):
            try:
                return _upload_one(store, pair, uri, meter)
            except DamagedObjectError:
                if last:
                    raise
        raise AssertionError

    records = _in_parallel(one, files, UPLOADS_AT_ONCE)
    stored = {o.key_relative: o.size for o in store.list(uri.rstrip("/") + "/", required=False)}
    for record in records:
        if stored.get(record.path) != record.size:
            raise DamagedObjectError(
                f"{join(uri, record.path)} has {stored.get(record.path)} bytes after the upload, "
                f"not {record.size}",
                "see the storage server's log",
            )
    return records


def _in_parallel(one, items, workers):  # type: ignore[no-untyped-def]
    """Run ``one`` over all items; the first error stops what has not begun."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(one, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
