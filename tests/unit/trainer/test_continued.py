"""Which checkpoint a run goes on from, and what of another run must be like it."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.errors import UserError
from finetune_api.job import FineTuneJob, Storage
from finetune_api.jobconfig import JobConfig, build
from finetune_trainer import continued
from finetune_trainer.continued import what_must_be_alike
from finetune_trainer.storage.checkpoints import commit, fetch_checkpoint, upload_part
from finetune_trainer.storage.objects import ObjectStore, open_store

REPORT = {"model": "m1", "layout": "Labels", "labels": ["a", "b"]}


@pytest.fixture
def store() -> ObjectStore:
    return open_store(Storage())


def job(folder: Path, source: str | None = None, **spec: Any) -> JobConfig:
    manifest = {
        "metadata": {"name": "next"},
        "spec": {
            "task": "TextClassification",
            "model": {"uri": "s3://b/m/"},
            "dataset": {"train": {"uri": "s3://b/rows.jsonl"}},
            "method": {"lora": {"rank": 4}},
            "resources": {"gpusPerNode": 0},
            "checkpointing": {"resumeFrom": f"{folder.as_uri()}/{source}"} if source else {},
            "output": {"uri": f"{folder.as_uri()}/mine/"},
        }
        | spec,
    }
    return build(FineTuneJob.from_manifest(manifest))


def save(store: ObjectStore, run: Path, attempt: int, step: int, **facts: Any) -> Path:
    """A checkpoint of a run, as its pods would have stored it."""
    source = run.parent / f"disk-{attempt}-{step}"
    for name in ("best/best.json", "trainer_state.json", "weights.safetensors"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"{name} {step}")
    folder = run / "checkpoints" / f"a{attempt:04d}" / f"step-{step:08d}"
    alike = what_must_be_alike(job(run.parent), REPORT)
    uri = folder.as_uri() + "/"
    upload_part(store, source, uri, pod=0, attempt=attempt, step=step)
    told = {"run": alike, "worldSize": 1, "strategy": "DDP", "fingerprint": "f", **facts}
    commit(store, uri, pods=1, attempt=attempt, step=step, facts=told)
    return folder


def test_own_checkpoints_go_first_then_the_one_that_is_named(
    store: ObjectStore, tmp_path: Path
) -> None:
    assert continued.origin_of(job(tmp_path), store) is None
    save(store, tmp_path / "other", 1, 4)
    save(store, tmp_path / "other", 2, 6)
    newest = continued.origin_of(job(tmp_path, "other/"), store)
    assert newest is not None
    assert (newest.step, newest.is_own) == (6, False)
    exact = job(tmp_path, "other/checkpoints/a0001/step-00000004/")
    named = continued.origin_of(exact, store)
    assert named is not None
    assert named.step == 4
    save(store, tmp_path / "mine", 1, 2)
    own = continued.origin_of(exact, store)
    assert own is not None
    assert (own.step, own.is_own) == (2, True)


def test_steps_on_an_abandoned_branch_and_broken_manifests_are_passed_over(
    store: ObjectStore, tmp_path: Path
) -> None:
    for attempt, step in ((1, 4), (1, 9), (2, 6)):
        folder = save(store, tmp_path / "other", attempt, step)
    store.write_json(f"{tmp_path.as_uri()}/other/attempts/0001.json", {"fromStep": 0})
    store.write_json(f"{tmp_path.as_uri()}/other/attempts/0002.json", {"fromStep": 4})
    (folder / "MANIFEST.json").write_text("{}")
    found = continued.origin_of(job(tmp_path, "other/"), store)
    assert found is not None
    assert found.step == 4
    with pytest.raises(UserError, match=r"checkpointing\.resumeFrom: .* has no valid manifest"):
        continued.origin_of(job(tmp_path, f"other/checkpoints/a0002/{folder.name}/"), store)
    with pytest.raises(UserError, match="nothing/ holds no complete checkpoint"):
        continued.origin_of(job(tmp_path, "nothing/"), store)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"method": {"lora": {"rank": 8}}},
            r"method\.lora\.rank differs: the checkpoint has 4, this run 8",
        ),
        ({"method": {"full": {}}}, "method differs: the checkpoint has lora, this run full"),
        (
            {"training": {"optimizer": "Lion"}},
            "training.optimizer differs: the checkpoint has AdamW, this run Lion",
        ),
        (
            {"task": "TextGeneration", "objective": "DPO"},
            "task differs: the checkpoint has TextClassification, this run TextGeneration",
        ),
    ],
)
def test_what_differs_in_the_job_is_named(
    store: ObjectStore, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    save(store, tmp_path / "other", 1, 4)
    with pytest.raises(UserError, match=sentence):
        continued.origin_of(job(tmp_path, "other/", **changes), store)


@pytest.mark.parametrize(
    ("report", "steps", "sentence"),
    [
        ({"model": "m2"}, 9, "files of the model differs: the checkpoint has m1, this run m2"),
        ({"labels": ["a"]}, 9, "classes differs: the checkpoint has a, b, this run a"),
        ({"layout": "Text"}, 9, "layout of the rows differs: the checkpoint has Labels"),
        ({}, 4, "is of step 4, and this run ends with step 4"),
    ],
)
def test_what_differs_in_model_and_data_is_named(
    store: ObjectStore, tmp_path: Path, report: dict[str, Any], steps: int, sentence: str
) -> None:
    save(store, tmp_path / "other", 1, 4)
    asked = job(tmp_path, "other/")
    origin = continued.origin_of(asked, store)
    assert origin is not None
    continued.check(origin, asked, REPORT, steps=5)
    with pytest.raises(UserError, match=sentence):
        continued.check(origin, asked, REPORT | report, steps=steps)


def test_the_copy_is_a_checkpoint_of_its_own(store: ObjectStore, tmp_path: Path) -> None:
    source = save(store, tmp_path / "other", 3, 4)
    asked = job(tmp_path, "other/")
    for fingerprint, best in (("f", True), ("g", False)):
        origin = continued.origin_of(asked, store)
        assert origin is not None
        continued.take(origin, asked, store, fingerprint)
        (own,) = continued.own_steps(store, asked.spec.output.uri)
        assert (own.attempt, own.step) == (0, 4)
        uri = f"{asked.spec.output.uri}checkpoints/{own.folder}"
        got = tmp_path / f"got-{fingerprint}"
        fetch_checkpoint(store, uri, got, ranks=range(1), world_size=1)
        assert (got / "weights.safetensors").read_text() == "weights.safetensors 4"
        assert (got / "best").exists() is best
        store.delete(f"{uri}MANIFEST.json")
    (source / "weights.safetensors").write_text("weights.safetensors 5")
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged: its sha256"):
        continued.take(origin, asked, store, "f")
    assert continued.own_steps(store, asked.spec.output.uri) == []
