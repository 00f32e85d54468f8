"""A job's `file://` addresses never reach what its pod keeps secret: errors quote data."""

from pathlib import Path

import pytest

from finetune_api.errors import UserError
from finetune_api.job import Storage
from finetune_trainer.storage.objects import open_store


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """The Secret as a pod sees it: each file a link into a folder that is swapped at rotation."""
    folder = tmp_path / "run" / "storage"
    (folder / "..data").mkdir(parents=True)
    (folder / "..data" / "AWS_SECRET_ACCESS_KEY").write_text("hidden")
    (folder / "AWS_SECRET_ACCESS_KEY").symlink_to("..data/AWS_SECRET_ACCESS_KEY")
    return folder


@pytest.mark.parametrize(
    "written",
    [
        "{mounted}/AWS_SECRET_ACCESS_KEY",
        "{mounted}/..data/AWS_SECRET_ACCESS_KEY",
        "{mounted}/",
        "{mounted}/../../run/storage/",
        "{above}/",
        "{link}/AWS_SECRET_ACCESS_KEY",
        "/proc/self/environ",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "/",
    ],
)
def test_secrets_of_the_pod_are_refused(written: str, mounted: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(mounted)
    uri = "file://" + written.format(mounted=mounted, above=mounted.parent, link=link)
    store = open_store(Storage(), mounted)
    for call in (store.list, store.read_bytes, store.exists):
        with pytest.raises(UserError, match="holds secrets of the pod"):
            call(uri)


def test_data_beside_them_is_read(mounted: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n")
    store = open_store(Storage(), mounted)
    assert store.read_bytes(f"file://{tmp_path}/rows.csv") == b"text,label\n"
