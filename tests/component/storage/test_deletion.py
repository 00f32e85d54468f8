"""A step that is half deleted is no checkpoint any more; the rest of it can be removed later."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.errors import StorageError
from finetune_trainer.storage.checkpoints import delete_step, fetch_checkpoint, upload_folder
from finetune_trainer.storage.faults import DamagedObjectError
from finetune_trainer.storage.manifest import Listing
from finetune_trainer.storage.objects import ObjectStore


@pytest.mark.parametrize("scheme", ["s3", "file"])
def test_the_manifest_goes_first(
    store: ObjectStore, bucket: str, tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    (source / "global_step3").mkdir(parents=True)
    for name in ("a.pt", "global_step3/b.pt"):
        (source / name).write_text(name)
    base = f"s3://{bucket}/c/" if scheme == "s3" else (tmp_path / "c").as_uri() + "/"
    step, other = f"{base}a0001/step-00000003/", f"{base}a0001/step-00000030/"
    for folder in (step, other):
        upload_folder(store, source, folder)
    delete = store.delete

    def fails_at_files(uri: str) -> None:
        if not uri.endswith("MANIFEST.json"):
            raise StorageError("gone")
        delete(uri)

    monkeypatch.setattr(store, "delete", fails_at_files)
    with pytest.raises(StorageError):
        delete_step(store, step)
    found: Any = Listing.of(o.key_relative for o in store.list(base))
    assert [c.step for c in found.manifested] == [30]
    assert [c.step for c in sorted(found.begun)] == [3, 30]
    with pytest.raises(DamagedObjectError, match="no valid manifest"):
        fetch_checkpoint(store, step, tmp_path / "got", ranks=range(1), world_size=1)

    monkeypatch.undo()
    delete_step(store, step)
    assert {o.key_relative.split("/")[1] for o in store.list(base)} == {"step-00000030"}
    assert not (tmp_path / "c" / "a0001" / "step-00000003").exists()
