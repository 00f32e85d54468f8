"""Checkpoints and manifested folders in the bucket: parts, manifests, verified fetches."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from finetune_api.errors import UserError
from finetune_trainer.storage import manifest
from finetune_trainer.storage.faults import DamagedObjectError
from finetune_trainer.storage.manifest import MANIFEST, FileRecord, file_list, part_name
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.transfer import UPLOADS_AT_ONCE, Progress, copy, download, upload
from finetune_trainer.storage.uris import join


def read_manifest(store: ObjectStore, folder: str) -> dict[str, Any]:
    """The manifest of a folder; a damaged one is a `DamagedObjectError`."""
    document = store.read_json(join(folder, MANIFEST))
    try:
        if document is None:
            raise ValueError("it has none")
        file_list(document)
    except ValueError as error:
        raise DamagedObjectError(f"{folder} has no valid manifest: {error}") from error
    return document


def read_documents(store: ObjectStore, folder: str) -> dict[str, dict[str, Any]]:
    """All JSON objects directly below a folder, by name."""
    found = [o for o in store.list(folder, required=False) if o.key_relative.endswith(".json")]
    flat = [o for o in found if "/" not in o.key_relative]
    with ThreadPoolExecutor(max_workers=8) as pool:
        documents = list(pool.map(lambda o: store.read_json(o.uri), flat))
    return {o.key_relative: d for o, d in zip(flat, documents, strict=True) if d is not None}


def upload_part(
    store: ObjectStore, source: Path, folder: str, *, pod: int, attempt: int, step: int
) -> int:
    """Upload a pod's files of a step, then its part manifest; gives the bytes."""
    records = upload(store, source, folder)
    store.write_json(join(folder, part_name(pod)), manifest.part(pod, attempt, step, records))
    return sum(record.size for record in records)


def commit(
    store: ObjectStore, folder: str, *, pods: int, attempt: int, step: int, facts: Mapping[str, Any]
) -> int:
    """Make a step exist: merge the parts, check that every file is there, manifest last."""
    parts = {}
    for index in range(pods):
        document = store.read_json(join(folder, part_name(index)))
        if document is not None:
            parts[index] = document
    merged = manifest.merge_parts(parts, pods=pods, attempt=attempt, step=step, facts=facts)
    sizes = {o.key_relative: o.size for o in store.list(folder)}
    for record in file_list(merged):
        if sizes.get(record.path) != record.size:
            raise DamagedObjectError(f"{join(folder, record.path)} is missing or has a wrong size")
    store.write_json(join(folder, MANIFEST), merged)
    return int(merged["bytes"])


def upload_folder(store: ObjectStore, source: Path, folder: str) -> int:
    """Upload a finished folder, its manifest last; gives the bytes."""
    records = upload(store, source, folder, exclude=(MANIFEST,))
    document = {"apiVersion": manifest.API_VERSION, "files": [r.wire() for r in records]}
    store.write_json(join(folder, MANIFEST), document)
    return sum(record.size for record in records)


def fetch_folder(
    store: ObjectStore, folder: str, destination: Path, *, on_progress: Progress | None = None
) -> int:
    """Fetch a folder that has a manifest, every file verified by it; gives the bytes."""
    document = store.read_json(join(folder, MANIFEST))
    if document is None:
        raise UserError(f"{folder} is not complete: it has no {MANIFEST}", "run prepare first")
    expected = {record.path: record.sha256 for record in file_list(document)}
    records = download(store, folder, destination, expected=expected, on_progress=on_progress)
    return sum(record.size for record in records)


def fetch_model(
    store: ObjectStore, folder: str, destination: Path, *, on_progress: Progress | None = None
) -> int:
    """Fetch the base model. A second start on the same disk re-reads instead of downloading."""
    record_file = destination.with_name(destination.name + ".json")
    expected = _remembered(record_file)
    listed = {o.key_relative for o in store.list(folder)}
    if expected is not None and set(expected) == listed:
        records = download(store, folder, destination, expected=expected, on_progress=on_progress)
    else:
        shutil.rmtree(destination, ignore_errors=True)
        records = download(store, folder, destination, on_progress=on_progress)
    wire = [record.wire() for record in records]
    ObjectStore(store.storage).write_json(record_file.absolute().as_uri(), {"files": wire})
    return sum(record.size for record in records)


def copy_step(
    store: ObjectStore, source: str, target: str, *, leave_out: Callable[[str], bool]
) -> dict[str, Any]:
    """Copy a step into another folder, each file checked by its sha256 while it passes; the
    manifest is written last, and given."""
    document = read_manifest(store, source)
    records = [record for record in file_list(document) if not leave_out(record.path)]
    with ThreadPoolExecutor(max_workers=UPLOADS_AT_ONCE) as pool:
        list(pool.map(lambda record: copy(store, record, source, target), records))
    copied = {
        **{name: value for name, value in document.items() if name != "parts"},
        "files": [record.wire() for record in records],
        "bytes": sum(record.size for record in records), "copiedFrom": source,
    }  # fmt: skip
    store.write_json(join(target, MANIFEST), copied)
    return copied


def delete_step(store: ObjectStore, folder: str) -> None:
    """Make a step cease to exist, then remove its files: half of it is no checkpoint."""
    store.delete(join(folder, MANIFEST))
    rest = [o.uri for o in store.list(folder, required=False)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(store.delete, rest))
    store.forget_folder(folder)


def _remembered(record_file: Path) -> dict[str, str] | None:

    try:
        files = file_list(json.loads(record_file.read_text()))
    except (OSError, ValueError):
        return None
    return {record.path: record.sha256 for record in files}


def fetch_checkpoint(
    store: ObjectStore,
    folder: str,
    destination: Path,
    *,
    ranks: range,
    world_size: int,
    local: Path | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Fetch what a pod needs of a step: all but other pods' rank files, unless the world changed.

    Files that the local disk still has with the manifest's hash are linked, not fetched; the folder
    appears under its name, its manifest within, only when all of it is verified. Gives the manifest
    without its files.
    """
    document = read_manifest(store, folder)
    everything = document.get("worldSize") != world_size
    records = [r for r in file_list(document) if everything or manifest.needed_by(r.path, ranks)]
    unfinished = destination.with_name(f".part-{destination.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    linked = {r.path for r in records if _link(r, (destination, local), unfinished)}
    expected = {r.path: r.sha256 for r in records if r.path not in linked}
    if expected:
        download(store, folder, unfinished, expected=expected, on_progress=on_progress)
    (unfinished / MANIFEST).write_text(json.dumps(document))
    shutil.rmtree(destination, ignore_errors=True)
    unfinished.rename(destination)
    facts = {k: v for k, v in document.items() if k not in ("files", "parts")}
    return {"manifest": facts, "linked": len(linked), "fetched": len(expected)}


def _link(record: FileRecord, sources: tuple[Path | None, ...], target: Path) -> bool:
    for source in sources:
        if source is None:
            continue
        path = source / record.path
        if path.is_file() and path.stat().st_size == record.size:
            if manifest.hash_file(path, record.path) != record:
                continue
            (target / record.path).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target / record.path)
            return True
    return False
