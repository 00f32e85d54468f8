"""What arrives is what was sent, or an error; against the real server."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetune_trainer.storage.faults import DamagedObjectError
from finetune_trainer.storage.manifest import hash_folder
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.transfer import download, upload
from tests.component.storage.conftest import MakeStore
from tests.component.storage.proxy import Exchange, FaultProxy


def tree(folder: Path, big: int = 20_000_000) -> Path:
    """A folder with an empty, a small, a nested and a multi-part file."""
    (folder / "nested" / "deep").mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "small ü+%.json").write_text("{}")
    (folder / "nested" / "deep" / "rows").write_bytes(os.urandom(100_000))
    (folder / "big").write_bytes(os.urandom(big))
    return folder


@pytest.mark.parametrize("scheme", ["s3", "file"])
def test_a_folder_survives_the_round_trip(
    store: ObjectStore, bucket: str, tmp_path: Path, scheme: str
) -> None:
    source = tree(tmp_path / "source")
    base = f"s3://{bucket}" if scheme == "s3" else (tmp_path / "bucket").as_uri()
    moved: list[tuple[int, int]] = []
    sent = upload(store, source, f"{base}/a/", on_progress=lambda *m: moved.append(m))
    assert moved[-1] == (20_100_002, 20_100_002)
    assert sorted(sent, key=lambda r: r.path) == hash_folder(source)
    got = download(store, f"{base}/a/", tmp_path / "got", expected={r.path: r.sha256 for r in sent})
    assert got == sorted(sent, key=lambda r: r.path)
    assert hash_folder(tmp_path / "got") == hash_folder(source)


def test_a_prefix_never_matches_its_neighbour(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    for name in ("data", "data-old"):
        store.write_json(f"s3://{bucket}/{name}/{name}.json", {})
    store.write_json(f"s3://{bucket}/data.json", {})
    names = [r.path for r in download(store, f"s3://{bucket}/data/", tmp_path / "all")]
    assert names == ["data.json"]
    (single,) = download(store, f"s3://{bucket}/data.json", tmp_path / "one")
    assert single.path == "data.json"


def test_a_flipped_bit_is_never_delivered(
    make_store: MakeStore, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    source = tree(tmp_path / "source", big=1_000_000)
    sent = upload(make_store(), source, f"s3://{bucket}/a/")

    def flip(exchange: Exchange) -> None:
        exchange.flip = exchange.method == "GET" and exchange.path.endswith("/big")

    proxy.fault = flip
    store = make_store(proxy.endpoint)
    got = tmp_path / "got"
    with pytest.raises(DamagedObjectError, match="big is damaged: its sha256"):
        download(store, f"s3://{bucket}/a/", got, expected={r.path: r.sha256 for r in sent})
    assert not (got / "big").exists()
    assert not list(got.rglob(".*part*"))


def test_a_bit_flipped_once_is_fetched_again(
    make_store: MakeStore, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    source = tree(tmp_path / "source", big=1_000_000)
    upload(make_store(), source, f"s3://{bucket}/a/")
    flips = iter([True])

    def flip(exchange: Exchange) -> None:
        if exchange.method == "GET" and exchange.path.endswith("/big"):
            exchange.flip = next(flips, False)

    proxy.fault = flip
    download(make_store(proxy.endpoint), f"s3://{bucket}/a/", tmp_path / "got")  # no manifest: ETag
    assert hash_folder(tmp_path / "got") == hash_folder(source)
    assert next(flips, None) is None


@pytest.mark.parametrize("size", [1_000_000, 20_000_000])
def test_a_bit_flipped_on_the_way_up_is_refused_and_sent_again(
    make_store: MakeStore, proxy: FaultProxy, bucket: str, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(size))
    flips = iter([True])

    def flip(exchange: Exchange) -> None:
        if exchange.method == "PUT" and next(flips, False):
            exchange.body = bytes([exchange.body[0] ^ 1]) + exchange.body[1:]

    proxy.fault = flip
    upload(make_store(proxy.endpoint), source, f"s3://{bucket}/a/")
    assert next(flips, None) is None
    download(make_store(), f"s3://{bucket}/a/", tmp_path / "got")
    assert hash_folder(tmp_path / "got") == hash_folder(source)


def test_cut_answers_and_503_are_survived(
    make_store: MakeStore, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    source = tree(tmp_path / "source", big=12_000_000)
    seen: dict[tuple[str, str], int] = {}

    def fault(exchange: Exchange) -> None:
        key = (exchange.method, exchange.path)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            exchange.answer = 503
        elif seen[key] == 2 and exchange.method == "GET":
            exchange.cut = exchange.path.endswith("/big")

    proxy.fault = fault
    store = make_store(proxy.endpoint)
    upload(store, source, f"s3://{bucket}/a/")
    download(store, f"s3://{bucket}/a/", tmp_path / "got")
    assert hash_folder(tmp_path / "got") == hash_folder(source)
    assert store.write_json(f"s3://{bucket}/doc.json", {"a": 1})
    assert store.read_json(f"s3://{bucket}/doc.json") == {"a": 1}


def test_a_killed_download_leaves_no_file_under_the_final_name(
    make_store: MakeStore, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    source = tree(tmp_path / "source", big=30_000_000)
    upload(make_store(), source, f"s3://{bucket}/a/")
    held = []

    def hold(exchange: Exchange) -> None:
        if exchange.method == "GET" and exchange.path.endswith("/big"):
            exchange.cut = True
            held.append(exchange)
            time.sleep(0 if len(held) == 1 else 60)

    proxy.fault = hold
    program = (
        "import sys; from pathlib import Path; from finetune_api.job import Storage\n"
        "from finetune_trainer.storage.objects import open_store\n"
        "from finetune_trainer.storage.transfer import download\n"
        f"store = open_store(Storage(endpoint={proxy.endpoint!r}))\n"
        f"download(store, 's3://{bucket}/a/', Path({str(tmp_path / 'got')!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ))
    end = time.monotonic() + 20
    while not (len(held) > 1 and list((tmp_path / "got").glob(".big*"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "got" / "big").exists()
    proxy.fault = lambda exchange: None
    download(make_store(), f"s3://{bucket}/a/", tmp_path / "got")
    assert (tmp_path / "got" / "big").read_bytes() == (source / "big").read_bytes()


def test_keys_that_would_leave_the_folder_are_refused(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_api.errors import UserError
    from finetune_trainer.storage.backend import ObjectInfo

    (tmp_path / "x").write_text("x")
    evil = ObjectInfo((tmp_path / "x").as_uri(), "../evil", 1)
    monkeypatch.setattr(store, "list", lambda uri, required=True: [evil])
    with pytest.raises(UserError, match=r"cannot become a local file"):
        download(store, "file:///a/", tmp_path / "got")
    assert not (tmp_path / "evil").exists()


def test_memory_stays_bounded_on_a_large_object(
    storage_server: object, make_store: MakeStore, bucket: str, tmp_path: Path
) -> None:
    size = 300 << 20
    source = tmp_path / "source"
    source.mkdir()
    block = os.urandom(1 << 20)
    with (source / "big").open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
    endpoint = make_store().storage.endpoint
    program = (
        "from pathlib import Path; from finetune_api.job import Storage\n"
        "from finetune_trainer.storage.objects import open_store\n"
        "from finetune_trainer.storage.transfer import download, upload\n"
        f"store = open_store(Storage(endpoint={endpoint!r}))\n"
        f"upload(store, Path({str(source)!r}), 's3://{bucket}/a/')\n"
        f"download(store, 's3://{bucket}/a/', Path({str(tmp_path / 'got')!r}))\n"
        "status = Path('/proc/self/status').read_text().split()\n"
        "print(status[status.index('VmHWM:') + 1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / "big").stat().st_size == size
    assert int(done.stdout) / 1024 < 200
