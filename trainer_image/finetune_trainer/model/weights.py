"""Are the safetensors files whole? Told from listing, index and headers, without a download.

A header says where each tensor lies, so a file that was cut off, or is no safetensors file at all
(a Git LFS pointer, an error page), is found before a GPU waits for it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from finetune_trainer.storage.backend import ObjectInfo
from finetune_trainer.storage.faults import PlaceError
from finetune_trainer.storage.objects import ObjectStore

WEIGHTS = ".safetensors"
INDEX = "model.safetensors.index.json"
LENGTH_BYTES = 8
HEADER_LIMIT = 100 * 2**20
"""What the format's own library accepts."""
REMEDY = "upload the model's files again"


def check_index(folder: Path, uri: str, names: Sequence[str]) -> None:
    """PlaceError when the index names files that are not there."""
    index = folder / INDEX
    if not index.is_file():
        return
    try:
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise PlaceError(f"{uri}{INDEX} is no index of weights", REMEDY) from error
    missing = sorted(wanted - set(names))
    if missing:
        raise PlaceError(
            f"model.uri {uri} lacks {len(missing)} of {len(wanted)} files of weights: "
            f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}",
            REMEDY,
        )


def check_headers(store: ObjectStore, objects: Sequence[ObjectInfo]) -> None:
    """PlaceError that names every file whose header and size do not belong together."""
    files = [item for item in objects if item.key_relative.endswith(WEIGHTS)]
    problems = [f"{item.uri} {problem}" for item in files if (problem := _problem(store, item))]
    if problems:
        raise PlaceError("; ".join(problems[:3]), REMEDY)


def _problem(store: ObjectStore, item: ObjectInfo) -> str:
    """What is wrong with one file; empty when it is whole."""
    unreadable = f"is not a safetensors file ({item.size:,} bytes)"
    if item.size < LENGTH_BYTES:
        return unreadable
    length = int.from_bytes(store.read_start(item.uri, LENGTH_BYTES), "little")
    if length > HEADER_LIMIT:
        return unreadable
    if LENGTH_BYTES + length > item.size:
        return f"is cut off: it has {item.size:,} bytes and its header alone {length:,}"
    try:
        header = json.loads(store.read_start(item.uri, LENGTH_BYTES + length)[LENGTH_BYTES:])
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name[0] != "_"]
        promised = LENGTH_BYTES + length + max(ends, default=0)
    except (ValueError, KeyError, IndexError, AttributeError, TypeError):
        return unreadable
    if promised != item.size:
        return f"has {item.size:,} bytes, not the {promised:,} that its header promises"
    return ""
