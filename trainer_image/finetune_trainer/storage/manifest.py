"""Manifests: which files make a checkpoint or a prepared folder, with size and sha256 of each.

A step exists only when its MANIFEST.json does; it is written last. Which checkpoint a run goes on
from is decided here, without any input or output.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from finetune_trainer.storage.backend import CHUNK

MANIFEST = "MANIFEST.json"
QUARANTINE = "QUARANTINED.json"
"""Next to a manifest whose files turned out damaged: the step is passed over from then on."""
PIN = "PINNED"
"""Next to a manifest, put there by people: the step stays whatever else is deleted."""
API_VERSION = "1.0"
_FOLDER = re.compile(r"^a(\d+)/step-(\d+)/")
_RANK_FILE = re.compile(r"(?:^|/)(?:rng_state_|(?:bf16_|fp16_)?zero_pp_rank_)(\d+)[._]")


@dataclass(frozen=True)
class FileRecord:
    """One file: path relative to its folder, size, sha256."""

    path: str
    size: int
    sha256: str

    def wire(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


def hash_file(path: Path, relative: str) -> FileRecord:
    """Read a file once for its record."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(relative, size, digest.hexdigest())


def hash_folder(folder: Path, *, exclude: Iterable[str] = ()) -> list[FileRecord]:
    """Records of all files below a folder, sorted by path."""
    left_out = set(exclude)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    pairs = [(p, p.relative_to(folder).as_posix()) for p in files]
    return [hash_file(p, relative) for p, relative in pairs if relative not in left_out]


def file_list(manifest: Mapping[str, Any]) -> list[FileRecord]:
    """The files of a manifest; ValueError when it is not one."""
    try:
        records = [FileRecord(f["path"], int(f["size"]), f["sha256"]) for f in manifest["files"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a manifest: {error}") from error
    if not records or any(len(r.sha256) != 64 for r in records):
        raise ValueError("not a manifest: no files, or a file without sha256")
    return records


def checkpoint_folder(attempt: int, step: int) -> str:
    """Folder of a step in the bucket, below checkpoints/."""
    return f"a{attempt:04d}/step-{step:08d}/"


def part_name(pod: int) -> str:
    """Name of a pod's part manifest."""
    return f"PART-{pod}.json"


def part(pod: int, attempt: int, step: int, files: Iterable[FileRecord]) -> dict[str, Any]:
    """A pod's part: the files that it uploaded and verified."""
    return {
        "apiVersion": API_VERSION, "pod": pod, "attempt": attempt, "step": step,
        "files": [f.wire() for f in files],
    }  # fmt: skip


class PartsDisagreeError(ValueError):
    """Parts that do not make one checkpoint."""


def merge_parts(parts: Mapping[int, Mapping[str, Any]], *, pods: int, attempt: int,
                step: int, facts: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
    """The manifest of a step from the parts of all pods; refuses a missing or foreign part."""
    missing = [i for i in range(pods) if i not in parts]
    if missing:
        raise PartsDisagreeError(f"step {step}: parts of pods {missing} are missing")
    files: dict[str, FileRecord] = {}
    for index, document in sorted(parts.items()):
        if (document.get("attempt"), document.get("step")) != (attempt, step):
            raise PartsDisagreeError(f"part {index} is of another checkpoint than step {step}")
        for record in file_list(document):
            if files.setdefault(record.path, record) != record:
                raise PartsDisagreeError(f"step {step}: pods differ about {record.path}")
    return {
        "apiVersion": API_VERSION, "attempt": attempt, "step": step, **facts,
        "parts": [part_name(i) for i in range(pods)],
        "files": [files[path].wire() for path in sorted(files)],
        "bytes": sum(record.size for record in files.values()),
    }  # fmt: skip


@dataclass(frozen=True, order=True)
class Candidate:
    """A manifested step: ordered by step, then by attempt."""

    step: int
    attempt: int

    @property
    def folder(self) -> str:
        """Its folder below checkpoints/."""
        return checkpoint_folder(self.attempt, self.step)


@dataclass
class Listing:
    """What a listing of checkpoints/ says, before any file is read."""

    manifested: set[Candidate] = field(default_factory=set)
    quarantined: set[Candidate] = field(default_factory=set)
    pinned: set[Candidate] = field(default_factory=set)
    begun: set[Candidate] = field(default_factory=set)
    """Steps of which there is any object."""

    @classmethod
    def of(cls, relative_keys: Iterable[str]) -> Self:
        """Sort keys below checkpoints/ into steps by what there is of them."""
        listing = cls()
        for key in relative_keys:
            found = _FOLDER.match(key)
            if not found:
                continue
            candidate = Candidate(int(found.group(2)), int(found.group(1)))
            listing.begun.add(candidate)
            told = {
                MANIFEST: listing.manifested, QUARANTINE: listing.quarantined, PIN: listing.pinned
            }  # fmt: skip
            told.get(key[found.end() :], set()).add(candidate)
        return listing


def resume_order(listing: Listing, from_steps: Mapping[int, int]) -> list[Candidate]:
    """Checkpoints to resume from, best first.

    ``from_steps`` maps an attempt to the step it started from. When a later attempt began below a
    checkpoint of an earlier one, that checkpoint lies on an abandoned branch (its attempt was a
    zombie, or the step was rolled back) and is ignored. A later attempt wins at the same step.
    """
    usable = []
    for candidate in listing.manifested - listing.quarantined:
        later = [step for number, step in from_steps.items() if number > candidate.attempt]
        if not later or candidate.step <= min(later):
            usable.append(candidate)
    return sorted(usable, reverse=True)


def needed_by(path: str, ranks: range) -> bool:
    """Whether a pod with these ranks needs a checkpoint file: all but other pods' rank files."""
    found = _RANK_FILE.search(path)
    if not found:
        return True
    return int(found.group(1)) in ranks
