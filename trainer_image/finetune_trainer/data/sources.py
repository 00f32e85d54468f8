"""Where data and model come from, the fingerprint of both, and the prepared folder's own address.

The fingerprint names everything the prepared rows depend on: bytes of the data and of the
tokenizer, the job's dataset settings, the seed, and this code's version. The weights' sizes are in
it as well, because the baseline is kept under the same name.
"""

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from finetune_api.dataset import DatasetFormat
from finetune_api.errors import UserError
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import MEDIA, Objective, Task, general_layouts
from finetune_api.media_rules import FOLDERS
from finetune_trainer.data.detect import NAMES, TEXT_NAMES, is_data_name
from finetune_trainer.data.gather import DataFile
from finetune_trainer.data.media import SUFFIXES, is_media_name
from finetune_trainer.data.named_files import digest, fetch_named, folder_name
from finetune_trainer.data.split import GENERAL, TEST, TRAIN, VALIDATION
from finetune_trainer.model import checks, weights
from finetune_trainer.storage.backend import ObjectInfo
from finetune_trainer.storage.faults import PlaceError
from finetune_trainer.storage.manifest import MANIFEST, file_list, hash_folder
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.transfer import download, upload

DATA_VERSION = "2"
"""Rises when the same inputs would give other prepared rows."""


@dataclass(frozen=True)
class Located:
    """What lies at the job's addresses: the model's objects, and the data files of each part."""

    model: list[ObjectInfo]
    data: dict[int, list[ObjectInfo]]


@dataclass(frozen=True)
class ModelFiles:
    """The model's small files in ``folder``; ``bytes`` of the whole model."""

    folder: Path
    hashes: list[tuple[str, str]]
    bytes: int

    @property
    def digest(self) -> str:
        """Names the model by its files (16 hexadecimal digits)."""
        return hashlib.sha256(json.dumps(self.hashes).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class DataFiles:
    """Downloaded data files and their hashes."""

    files: list[DataFile]
    hashes: list[tuple[int, str, str]]
    bytes: int


def locate(job: JobConfig, store: ObjectStore) -> Located:
    """List model and data; UserError with everything that is wrong with the addresses."""
    problems: list[PlaceError] = []
    model = _attempt(problems, lambda: _list_model(job, store)) or []
    data = {
        part: _attempt(problems, partial(_list_data, uri, store, _names_of_data(job, part))) or []
        for part, uri in _data_uris(job).items()
    }
    if problems:
        told = "; ".join(dict.fromkeys(error.message for error in problems))
        raise UserError(told, "; ".join(dict.fromkeys(error.remedy for error in problems)))
    return Located(model, data)


def _attempt(
    problems: list[PlaceError], call: Callable[[], list[ObjectInfo]]
) -> list[ObjectInfo] | None:
    try:
        return call()
    except PlaceError as error:
        problems.append(error)
        return None


def _data_uris(job: JobConfig) -> dict[int, str]:
    dataset = job.spec.dataset
    uris = {TRAIN: dataset.train.uri}
    for part, source in ((VALIDATION, dataset.validation), (TEST, dataset.test)):
        if source is not None and source.uri is not None:
            uris[part] = source.uri
    if job.spec.evaluation.forgetting is not None:
        uris[GENERAL] = job.spec.evaluation.forgetting.uri
    return uris


def _format(job: JobConfig, part: int) -> DatasetFormat:
    """What the job says of the format; of the general set it says nothing."""
    return DatasetFormat.AUTO if part == GENERAL else job.spec.dataset.format


def _list_model(job: JobConfig, store: ObjectStore) -> list[ObjectInfo]:
    uri = job.spec.model.uri
    objects = store.list(uri)
    checks.check_listing(
        uri,
        [item.key_relative for item in objects],
        MEDIA.get(job.spec.task),
        writes=job.spec.task not in MEDIA or job.spec.task is Task.SPEECH_RECOGNITION,
    )
    weights.check_headers(store, objects)
    return objects


def _names_of_data(job: JobConfig, part: int) -> list[Collection[str]]:
    """How names of data files below a prefix end; the first kind of which there is one counts. A
    plain text is a note beside the data, except where texts are what is learnt."""
    asked, media = _format(job, part), MEDIA.get(job.spec.task)
    if media is not None:
        return [SUFFIXES[media]] if asked in FOLDERS else [NAMES, SUFFIXES[media]]
    if asked in (DatasetFormat.TEXT, DatasetFormat.LINES):
        return [TEXT_NAMES]
    takes_texts = job.spec.objective is Objective.PRETRAIN
    if part == GENERAL:
        takes_texts = bool(general_layouts(job.spec.task, job.spec.objective))
    return [NAMES, TEXT_NAMES] if takes_texts and asked is DatasetFormat.AUTO else [NAMES]


def _list_data(uri: str, store: ObjectStore, kinds: list[Collection[str]]) -> list[ObjectInfo]:
    objects = store.list(uri)
    if not uri.endswith("/"):
        return objects
    for suffixes in kinds:
        found = [item for item in objects if is_data_name(item.key_relative, suffixes)]
        if found:
            return found
    names = ", ".join(item.key_relative for item in objects[:5])
    wanted = ".jsonl, .json, .csv, .parquet or .arrow"
    if kinds[0] is not NAMES:
        wanted = ", ".join(sorted(kinds[0]))
    elif len(kinds) > 1 and kinds[1] is not TEXT_NAMES:
        wanted += f" file, and no {', '.join(sorted(kinds[1]))}"
    raise PlaceError(
        f"{uri} holds no {wanted} file, only {names}",
        "name the data file itself, or rename it",
    )


def fetch_model(
    job: JobConfig, store: ObjectStore, objects: list[ObjectInfo], folder: Path
) -> ModelFiles:
    """Configuration and tokenizer, no weights; UserError when a file is damaged."""
    uri = job.spec.model.uri
    small = {i.key_relative for i in objects if checks.is_small(i.key_relative, i.size)}
    records = download(store, uri, folder, select=small.__contains__)
    checks.check_documents(folder, uri)
    weights.check_index(folder, uri, [item.key_relative for item in objects])
    hashes = sorted((record.path, record.sha256) for record in records)
    hashes += sorted(
        (item.key_relative, f"{item.size} {item.etag}")
        for item in objects
        if item.key_relative.endswith(weights.WEIGHTS)
    )
    return ModelFiles(folder, hashes, sum(item.size for item in objects))


def fetch_data(
    job: JobConfig, store: ObjectStore, located: dict[int, list[ObjectInfo]], folder: Path
) -> DataFiles:
    """All data files of the job."""
    files, hashes, size = [], [], 0
    media = MEDIA.get(job.spec.task)
    for part, uri in _data_uris(job).items():
        place = folder / str(part)
        wanted = {item.key_relative for item in located[part]}
        records = download(store, uri, place, select=wanted.__contains__)
        size += sum(record.size for record in records)
        if media and all(is_media_name(record.path, media) for record in records):
            name = folder_name(uri)
            files.append(DataFile(place, name, part))
            hashes.append((part, name, digest(records)))
            continue
        for record in records:
            files.append(DataFile(place / record.path, record.path, part))
            hashes.append((part, record.path, record.sha256))
            if media:
                column = getattr(job.spec.dataset.columns, media)
                beside = fetch_named(store, uri, files[-1], _format(job, part), column)
                size += sum(found.size for found in beside)
                if beside:
                    hashes.append((part, f"files that {record.path} names", digest(beside)))
    return DataFiles(files, sorted(hashes), size)


def fingerprint(job: JobConfig, model: ModelFiles, data: DataFiles) -> str:
    """Name of the prepared data (16 hexadecimal digits)."""
    document = {
        "version": DATA_VERSION,
        "task": str(job.spec.task),
        "model": model.hashes,
        "data": data.hashes,
        "dataset": job.spec.dataset.to_wire(),
        "chatTemplate": job.spec.model.chat_template,
        "virtualTokens": job.spec.method.virtual_tokens,
        "seed": job.spec.training.seed,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _folder(job: JobConfig, name: str) -> str:
    return f"{job.spec.output.uri}prepared/{name}/"


def reusable(job: JobConfig, store: ObjectStore, name: str) -> dict[str, Any] | None:
    """The report of prepared data of this name, when all its files are there with their sizes."""
    folder = _folder(job, name)
    manifest = store.read_json(folder + MANIFEST)
    if manifest is None:
        return None
    try:
        expected = {record.path: record.size for record in file_list(manifest)}
    except ValueError:
        return None
    stored = {item.key_relative: item.size for item in store.list(folder, required=False)}
    if any(stored.get(path) != size for path, size in expected.items()):
        return None
    return store.read_json(folder + "data-report.json")


def publish(job: JobConfig, store: ObjectStore, out: Path, name: str) -> None:
    """Store the prepared folder; its manifest last."""
    folder = _folder(job, name)
    upload(store, out, folder)
    files = [record.wire() for record in hash_folder(out)]
    manifest = {
        "apiVersion": "1.0", "fingerprint": name, "inputsHash": job.inputs_hash, "files": files,
    }  # fmt: skip
    store.write_json(folder + MANIFEST, manifest)
