"""Weights that are not whole are found from their headers."""

import json
from pathlib import Path

import pytest

from finetune_api.errors import UserError
from finetune_api.job import Storage
from finetune_trainer.model import weights
from finetune_trainer.storage.objects import open_store

HEADER = json.dumps(
    {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
    }
).encode()
WHOLE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(24)


def check(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    store = open_store(Storage())
    weights.check_headers(store, store.list(f"{folder.as_uri()}/"))


def test_a_whole_file_passes(tmp_path: Path) -> None:
    check(tmp_path, WHOLE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a safetensors file (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is not a safetensors file (43 bytes)"),
        (WHOLE[:-1], f"has {len(WHOLE) - 1} bytes, not the {len(WHOLE)} that its header promises"),
        (WHOLE + b"x", f"has {len(WHOLE) + 1} bytes, not the {len(WHOLE)}"),
        (WHOLE[:20], "is cut off: it has 20 bytes and its header alone"),
        (len(HEADER).to_bytes(8, "little") + bytes(len(HEADER)), "is not a safetensors file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(UserError) as caught:
        check(tmp_path, content)
    assert f"{tmp_path.as_uri()}/model.safetensors {says}" in caught.value.message


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}, "lacks 1 of 2 files"),
        ({"weights": {}}, "is no index of weights"),
    ],
)
def test_an_index_without_its_files_is_told(tmp_path: Path, index: object, says: str) -> None:
    (tmp_path / weights.INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=says):
        weights.check_index(tmp_path, "s3://models/x/", ["1.safetensors"])
