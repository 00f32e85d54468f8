"""Storage errors as people read them: what, where, what to do; against the real server."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from finetune_api.errors import StorageError, UserError
from finetune_api.job import Storage
from finetune_trainer.storage import s3
from finetune_trainer.storage.faults import UnreachableError
from finetune_trainer.storage.objects import ObjectStore, open_store
from finetune_trainer.storage.transfer import upload
from finetune_trainer.storage.uris import parse
from localcluster.s3 import S3
from tests.component.storage.conftest import MakeStore
from tests.component.storage.proxy import FaultProxy


def test_wrong_bucket(store: ObjectStore) -> None:
    with pytest.raises(UserError) as caught:
        store.list("s3://no-such-bucket/data/")
    assert "bucket 'no-such-bucket' does not exist at http://127.0.0.1" in str(caught.value)
    assert "create the bucket" in caught.value.remedy


@pytest.mark.parametrize("uri", ["data/", "data.jsonl"])
def test_nothing_there(store: ObjectStore, bucket: str, uri: str) -> None:
    with pytest.raises(UserError, match=f"s3://{bucket}/{uri} (holds no objects|does not exist)"):
        store.list(f"s3://{bucket}/{uri}")


@pytest.mark.parametrize(
    ("name", "code"),
    [("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"), ("AWS_ACCESS_KEY_ID", "")],
)
def test_wrong_credentials(
    make_store: MakeStore, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, code: str,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv(name, "wrong-value")
    store = make_store()
    for call in (
        lambda: store.list(f"s3://{bucket}/a/"),
        lambda: upload(store, tmp_path, f"s3://{bucket}/a/"),
        lambda: store.write_json(f"s3://{bucket}/a.json", {}),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert f"refuses the credentials for s3://{bucket}/a" in str(caught.value)
        assert code in str(caught.value)
        assert "secret key" in caught.value.remedy


def test_secret_files_are_read_anew(
    bucket: str, storage_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    store = open_store(Storage(endpoint=storage_server.endpoint), tmp_path)
    with pytest.raises(UserError, match="has no AWS_ACCESS_KEY_ID and no AWS_SECRET"):
        store.exists(f"s3://{bucket}/a")
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text(storage_server.access_key + "\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("old")
    with pytest.raises(UserError, match="refuses the credentials"):
        store.exists(f"s3://{bucket}/a")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text(storage_server.secret_key)
    assert store.exists(f"s3://{bucket}/a") is False


def test_an_endpoint_that_never_answered_is_most_likely_wrong(
    monkeypatch: pytest.MonkeyPatch, make_store: MakeStore
) -> None:
    monkeypatch.setattr(s3, "FIRST_PATIENCE_SECONDS", 0.5)
    store = make_store("http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        store.list("s3://bucket/a/")
    assert "the storage at http://127.0.0.1:9 was not reached" in str(caught.value)
    assert "nothing listens at this address" in str(caught.value)
    assert "spec.storage.endpoint" in caught.value.remedy
    assert time.monotonic() - begin < 10


def test_a_storage_that_goes_away_is_lost(
    monkeypatch: pytest.MonkeyPatch, make_store: MakeStore, proxy: FaultProxy, bucket: str
) -> None:
    monkeypatch.setattr(s3, "PATIENCE_SECONDS", 1.0)
    store = make_store(proxy.endpoint)
    assert not store.exists(f"s3://{bucket}/a")
    proxy.fault = lambda exchange: setattr(exchange, "answer", 503)
    store.backend(parse("s3://x")).proven = True
    with pytest.raises(StorageError, match=r"was not reached for .* s: it answers 503"):
        store.exists(f"s3://{bucket}/a")


def test_only_one_writer_wins(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    for base in (f"s3://{bucket}", tmp_path.as_uri()):
        uri = f"{base}/attempts/0001.json"
        write = partial(store.write_json, uri, if_absent=True)
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, [{"writer": i} for i in range(8)]))
        assert won.count(True) == 1
        assert store.read_json(uri) == {"writer": won.index(True)}
    assert os.listdir(tmp_path / "attempts") == ["0001.json"]
