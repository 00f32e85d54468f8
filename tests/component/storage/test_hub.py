"""`hf://` addresses, with huggingface_hub itself against a server of this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.component.storage.hub_server import COMMIT, Hub

READ = """
import json, sys
from pathlib import Path
from finetune_api.errors import JobError
from finetune_api.job import Storage
from finetune_trainer.storage.objects import open_store
from finetune_trainer.storage.transfer import download
uri, target, token = sys.argv[1:]
try:
    store = open_store(Storage(), hub_token_dir=Path(token) if token else None)
    listed = [[o.uri, o.key_relative, o.size] for o in store.list(uri)]
    start = store.read_start(listed[0][0], 4).decode()
    files = [[r.path, r.size, r.sha256] for r in download(store, uri, Path(target))]
    print(json.dumps({"listed": listed, "start": start, "files": files}))
except JobError as error:
    print(json.dumps({"class": error.exit_class, "told": error.failure().sentence()}))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folders = {"org/base": tmp_path / "base", "datasets/org/rows": tmp_path / "rows"}
    for folder in folders.values():
        (folder / "data").mkdir(parents=True)
    (folders["org/base"] / "config.json").write_text('{"a": 1}')
    (folders["org/base"] / "model.safetensors").write_bytes(b"weights" * 1000)
    (folders["datasets/org/rows"] / "data" / "train.jsonl").write_text('{"text": "a"}\n')
    (folders["datasets/org/rows"] / "README.md").write_text("about")
    served = Hub(folders, token="hf_secret")
    yield served
    served.shutdown()
    served.server_close()


def read(hub: Hub, uri: str, tmp_path: Path, token: str = "") -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    ended = subprocess.run(
        [sys.executable, "-c", READ, uri, str(tmp_path / "target"), token],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def secret(tmp_path: Path, **keys: str) -> str:
    folder = tmp_path / "secret"
    folder.mkdir()
    for name, value in keys.items():
        (folder / name).write_text(value)
    return str(folder)


def test_a_model_is_listed_read_and_fetched_at_one_commit(hub: Hub, tmp_path: Path) -> None:
    found = read(hub, "hf://org/base@v1/", tmp_path)
    assert found["listed"] == [
        [f"hf://org/base@{COMMIT}/config.json", "config.json", 8],
        [f"hf://org/base@{COMMIT}/model.safetensors", "model.safetensors", 7000],
    ]
    assert found["start"] == '{"a"'
    assert (tmp_path / "target" / "model.safetensors").read_bytes() == b"weights" * 1000
    resolved = [path for path in hub.asked if "/resolve/" in path]
    assert resolved
    assert all(f"/resolve/{COMMIT}/" in path for path in resolved)


def test_a_folder_of_a_dataset_is_a_prefix(hub: Hub, tmp_path: Path) -> None:
    found = read(hub, "hf://datasets/org/rows/data/", tmp_path)
    assert [name for name, *_ in found["files"]] == ["train.jsonl"]
    alone = read(hub, "hf://datasets/org/rows/data/train.jsonl", tmp_path)
    assert alone["files"] == found["files"]


def test_bytes_that_are_not_those_of_the_promised_hash_are_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.component.storage import hub_server

    honest = hub_server.Answers._file

    def flipped(self: Any, path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(b"W" + content[1:])
        try:
            honest(self, path)
        finally:
            path.write_bytes(content)

    monkeypatch.setattr(hub_server.Answers, "_file", flipped)
    found = read(hub, "hf://org/base/model.safetensors", tmp_path)
    assert "model.safetensors is damaged: its sha256 is" in found["told"]


def test_a_gated_model_opens_with_the_secrets_token(hub: Hub, tmp_path: Path) -> None:
    hub.gated.add("org/base")
    assert read(hub, "hf://org/base/", tmp_path)["told"] == (
        "hf://org/base/ is gated; ask for access on its page of the hub, and name a Secret with "
        "the HF_TOKEN of an account that may read it in model.secretName"
    )
    token = secret(tmp_path, HF_TOKEN="hf_secret\n")
    assert len(read(hub, "hf://org/base/", tmp_path, token)["files"]) == 2


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("hf://org/none/", "hf://org/none/ does not exist on the hub, or is private; correct the "
         "uri; if it is private, name a Secret with the HF_TOKEN of an account that may read it "
         "in model.secretName"),
        ("hf://org/base@v9/", "org/base has no revision 'v9'; correct what follows @"),
        ("hf://org/base/none.json", "hf://org/base/none.json does not exist; correct the uri in "
         "the job, or upload the files"),
        ("hf://base/", "hf://base/ names no repository of the hub; write hf://org/name/ or "
         "hf://datasets/org/name/, with @revision after the name"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_told(hub: Hub, tmp_path: Path, uri: str, told: str) -> None:
    assert read(hub, uri, tmp_path)["told"] == told


def test_a_secret_without_the_token_is_told(hub: Hub, tmp_path: Path) -> None:
    found = read(hub, "hf://org/base/", tmp_path, secret(tmp_path, TOKEN="hf_secret"))
    assert found["told"] == (
        "the Secret of model.secretName has no HF_TOKEN; put the account's token into it"
    )


def test_a_hub_that_is_away_is_tried_again_by_the_job(hub: Hub, tmp_path: Path) -> None:
    hub.broken = 99
    found = read(hub, "hf://org/base/", tmp_path)
    assert found["class"] == "StorageUnreachable"
    assert f"the hub at {hub.url} answered 503 for hf://org/base/" in found["told"]
    hub.shutdown()
    hub.server_close()
    found = read(hub, "hf://org/base/", tmp_path)
    assert found["class"] == "StorageUnreachable"
    assert f"the hub at {hub.url} was not reached for hf://org/base/" in found["told"]


def test_nothing_is_written_to_the_hub() -> None:
    from finetune_api.errors import UserError
    from finetune_api.job import Storage
    from finetune_trainer.storage.objects import open_store

    with pytest.raises(UserError, match="the hub is only read from"):
        open_store(Storage()).write_json("hf://org/base/a.json", {})


@pytest.mark.parametrize(
    ("uri", "name"),
    [("hf://org/base@v1/", ("org/base", "v1")), ("hf://org/base/", ("org/base", "main")),
     ("s3://models/base/", ("s3://models/base/", None))],
)  # fmt: skip
def test_a_result_names_its_base_as_other_programs_know_it(
    uri: str, name: tuple[str, str | None]
) -> None:
    from finetune_trainer.storage.hub import loadable

    assert loadable(uri) == name
