"""Which checkpoint a run goes on from, as prepare sees it: its own newest one, else the one of
another run that the job names.

Another run's is checked against the job, and copied into this run's folder as its attempt 0: from
then on it is a checkpoint like all others, and nobody needs the other run's any more.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_api.errors import UserError
from finetune_api.jobconfig import JobConfig
from finetune_trainer.storage.checkpoints import copy_step, read_documents, read_manifest
from finetune_trainer.storage.faults import DamagedObjectError
from finetune_trainer.storage.manifest import Candidate, Listing, resume_order
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.uris import join

FIELD = "checkpointing.resumeFrom"
COPIED = 0
"""The attempt that another run's checkpoint counts as."""
BEST = "best/"
"""Below it: the best weights so far, and by which loss."""
_STEP = re.compile(r"/checkpoints/a\d+/step-(\d+)/$")


@dataclass(frozen=True)
class Origin:
    """A checkpoint that a run goes on from."""

    folder: str
    manifest: dict[str, Any]
    is_own: bool

    @property
    def step(self) -> int:
        """The step it was saved after."""
        return int(self.manifest["step"])

    @property
    def binding(self) -> dict[str, Any]:
        """What a plan keeps to: the layout of the states, and the run's own batch."""
        kept = ("strategy", "zeroStage", "precision", "worldSize")
        names = (*kept, "globalBatch") if self.is_own else kept
        return {name: self.manifest[name] for name in names if name in self.manifest}


def what_must_be_alike(job: JobConfig, report: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs must have in common so that one can go on from the other's checkpoint, by the
    name of what decides it. ``report``: of the prepared data."""
    spec = job.spec
    return {
        "task": str(spec.task),
        "objective": str(spec.objective) if spec.objective else None,
        "method": spec.method.to_wire(),
        "training.optimizer": str(spec.training.optimizer),
        "files of the model": report.get("model"),
        "layout of the rows": report.get("layout"),
        "classes": report.get("labels"),
    }


def own_steps(store: ObjectStore, output: str) -> list[Candidate]:
    """Steps that a run can go on from, best first."""
    from finetune_trainer.gang.ledger import Ledger

    keys = [o.key_relative for o in store.list(join(output, "checkpoints/"), required=False)]
    attempts = read_documents(store, join(output, "attempts/"))
    return resume_order(Listing.of(keys), Ledger.of(attempts).from_steps())


def origin_of(job: JobConfig, store: ObjectStore) -> Origin | None:
    """Where this run goes on from; None when it begins. UserError when the job names a checkpoint
    that is none, or that differs in what is known before any row is read."""
    output, asked = job.spec.output.uri, job.spec.checkpointing.resume_from
    own = _newest(store, output, is_own=True)
    if own is not None or asked is None:
        return own
    if _STEP.search(asked):
        try:
            found = Origin(asked, read_manifest(store, asked), is_own=False)
        except DamagedObjectError as error:
            raise UserError(f"{FIELD}: {error.message}", "name another checkpoint") from error
    else:
        newest = _newest(store, asked, is_own=False)
        if newest is None:
            raise UserError(
                f"{FIELD}: {asked} holds no complete checkpoint",
                "name the folder of a run, or of one checkpoint of it",
            )
        found = newest
    _check(found, what_must_be_alike(job, {}))
    return found


def _newest(store: ObjectStore, output: str, *, is_own: bool) -> Origin | None:
    for candidate in own_steps(store, output):
        folder = join(output, "checkpoints", candidate.folder)
        try:
            return Origin(folder, read_manifest(store, folder), is_own)
        except DamagedObjectError:
            continue
    return None


def check(origin: Origin, job: JobConfig, report: Mapping[str, Any], *, steps: int) -> None:
    """UserError when another run's checkpoint differs in its model or data, or nothing is left to
    train of ``steps``."""
    _check(origin, what_must_be_alike(job, report))
    if origin.step >= steps:
        raise UserError(
            f"{FIELD}: the checkpoint is of step {origin.step}, and this run ends with step "
            f"{steps}",
            "set a larger training.maxSteps or training.epochs",
        )


def take(origin: Origin, job: JobConfig, store: ObjectStore, fingerprint: str) -> None:
    """Copy another run's checkpoint into this run's folder, file by file verified. How well its
    best weights were is not comparable where the rows are others."""
    target = join(job.spec.output.uri, "checkpoints", Candidate(origin.step, COPIED).folder)
    same_rows = origin.manifest.get("fingerprint") == fingerprint
    try:
        copy_step(
            store, origin.folder, target,
            leave_out=lambda path: not same_rows and path.startswith(BEST),
        )  # fmt: skip
    except DamagedObjectError as error:
        raise UserError(f"{FIELD}: {error.message}", "name another checkpoint") from error


def _check(origin: Origin, mine: Mapping[str, Any]) -> None:
    theirs = origin.manifest.get("run") or {}
    for name, value in mine.items():
        if value is not None or name == "objective":
            _same(origin, name, theirs.get(name), value)


def _same(origin: Origin, name: str, there: Any, here: Any) -> None:
    if there == here:
        return
    if isinstance(there, dict) and isinstance(here, dict) and there.keys() & here.keys():
        for key in sorted({**there, **here}):
            _same(origin, f"{name}.{key}", there.get(key), here.get(key))
        return
    raise UserError(
        f"{FIELD}: {name} differs: the checkpoint has {_shown(there)}, this run {_shown(here)}",
        "make them the same, or leave resumeFrom out",
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        names = ", ".join(map(str, value[:5]))
        return f"{names} and {len(value) - 5} more" if len(value) > 5 else names or "none"
    if isinstance(value, dict):
        return ", ".join(value)
    return str(value) if value is not None else "none"
