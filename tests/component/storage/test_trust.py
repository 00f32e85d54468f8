"""TLS with a private authority: control and bulk calls trust the file, as it is now."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_api.errors import UserError
from finetune_api.job import Storage
from finetune_trainer.storage.objects import open_store
from localcluster import s3
from localcluster.certificates import Authority
from localcluster.processes import free_ports, start, stop
from localcluster.s3 import S3


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority")
    made.issue_server("s3", ["s3.example"], ["127.0.0.1"])
    return made


@pytest.fixture
def endpoint(
    authority: Authority, tmp_path: Path, storage_server: S3, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    (port,) = free_ports(1)
    command = s3.command(tmp_path / "s3", port)
    flags = [f"--cert={authority.folder}/s3.crt", f"--key={authority.folder}/s3.key"]
    command[command.index("posix") : command.index("posix")] = flags
    (tmp_path / "s3" / "buckets" / "bucket").mkdir()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", storage_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", storage_server.secret_key)
    record = start(command, log=tmp_path / "tls.log")
    yield f"https://127.0.0.1:{port}"
    stop([record])


def test_an_authority_that_arrives_later_is_trusted(
    endpoint: str, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    file = tmp_path / "secret" / "ca.crt"
    other = Authority(tmp_path / "other")
    store = open_store(Storage(endpoint=endpoint, ca_secret_name="private-ca"), ca=file)
    uri = "s3://bucket/a/file.json"
    with pytest.raises(UserError, match=r"Secret 'private-ca' .* has no ca\.crt"):
        store.exists(uri)
    file.write_text("-----BEGIN NOTHING-----")
    with pytest.raises(UserError, match="is no certificate in PEM form"):
        store.exists(uri)
    shutil.copy(other.bundle, file)
    with pytest.raises(UserError, match="not signed by an authority that is trusted here"):
        store.exists(uri)
    shutil.copy(authority.bundle, file)
    store.write_json(uri, {"a": 1})
    assert b"".join(bytes(chunk) for chunk in store.stream(uri)) == store.read_bytes(uri)
    assert store.read_json(uri) == {"a": 1}
    shutil.copy(other.bundle, file)
    with pytest.raises(UserError, match="not signed by an authority"):
        store.exists(uri)
