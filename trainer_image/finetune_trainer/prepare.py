"""`prepare`: fetch and check data and model, split, tokenise, plan; before any GPU is taken."""

import json
import os
import pickle
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from finetune_api import names
from finetune_api.errors import JobError, UserError
from finetune_api.exits import EXIT_CODES, TERMINATION_LIMIT, ExitClass, Failure
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import LAYOUTS, general_layouts, learnt
from finetune_api.progress import (
    PREPARED_LIMIT,
    PROGRESS_VERSION,
    DataSummary,
    Plan,
    Prepared,
    PrepareResult,
)
from finetune_trainer.apart import apart
from finetune_trainer.config import (
    Places,
    credentials_folder,
    hub_token_folder,
    load_config,
    plan_name,
    storage_ca,
)  # fmt: skip
from finetune_trainer.storage.objects import ObjectStore, open_store


class Terminated(BaseException):
    """SIGTERM: leave at once; a new pod starts over, nothing half-made counts."""


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Prepare a job; writes the termination message and returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        job = load_config(environ)
        store = open_store(
            job.spec.storage, credentials_folder(environ), storage_ca(environ),
            hub_token_folder(environ),
        )  # fmt: skip
        pretend = bool(environ.get(names.ENV_PRETEND_GPUS))
        result = prepare(job, Places.from_env(environ), store, pretend_gpus=pretend)
    except Terminated:
        message = "prepare was asked to leave"
        return _fail(environ, Failure(exit_class=ExitClass.PREEMPTED, message=message))
    except JobError as error:
        return _fail(environ, error.failure())
    except Exception as error:
        traceback.print_exc()
        last = traceback.format_exception_only(error)[-1].strip()[:1000]
        return _fail(environ, Failure(exit_class=ExitClass.INTERNAL_ERROR, message=last))
    _write_message(environ, _fitted(result))
    return EXIT_CODES[ExitClass.COMPLETED]


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _fail(environ: Mapping[str, str], failure: Failure) -> int:
    sys.stderr.write(f"{failure.sentence()}\n")
    text = json.dumps(failure.to_wire(), ensure_ascii=False)
    while len(text.encode()) > TERMINATION_LIMIT:
        failure = failure.model_copy(update={"message": failure.message[:-100]})
        text = json.dumps(failure.to_wire(), ensure_ascii=False)
    _write_message(environ, text)
    return failure.code


def _fitted(result: PrepareResult) -> str:
    """The result within its limit: the last reasons go first, they are in the plan's file."""
    while True:
        text = json.dumps(result.to_wire(), ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) <= PREPARED_LIMIT or not result.plan.reasons:
            return text
        plan = result.plan.model_copy(update={"reasons": result.plan.reasons[:-1]})
        result = result.model_copy(update={"plan": plan})


def _write_message(environ: Mapping[str, str], text: str) -> None:
    path = Path(environ.get(names.ENV_TERMINATION) or names.TERMINATION_PATH)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        # Outside a pod there is no such file: the message is for whoever started us.
        say(text)


def say(line: str) -> None:
    """One line of progress."""
    sys.stdout.write(f"prepare: {line}\n")
    sys.stdout.flush()


def prepare(
    job: JobConfig, places: Places, store: ObjectStore, *, pretend_gpus: bool = False
) -> PrepareResult:
    """Everything prepare does, in order: what costs least first, so that mistakes are told before
    the model's libraries are imported. The document is what the operator keeps."""
    from finetune_trainer import continued
    from finetune_trainer.data import sources
    from finetune_trainer.plan import check_batch

    check_batch(job)
    located = sources.locate(job, store)
    with claimed_output(job, store):
        origin = continued.origin_of(job, store)
        scratch = places.root / "prepare"
        shutil.rmtree(scratch, ignore_errors=True)
        model = sources.fetch_model(job, store, located.model, scratch / "model")
        say(f"model: {model.bytes / 1e6:.0f} MB")
        data = sources.fetch_data(job, store, located.data, scratch / "data")
        say(f"dataset: {len(data.files)} files, {data.bytes / 1e6:.1f} MB")
        fingerprint = sources.fingerprint(job, model, data)
        report = sources.reusable(job, store, fingerprint)
        if report is not None:
            say(f"prepared/{fingerprint} is there already and is used again")
            loaded = _load(job, model.folder)
            result = _result(
                job, model, loaded, fingerprint, report, origin, pretend_gpus=pretend_gpus
            )
        else:
            # Each in a process of its own: a plan needs a gigabyte's libraries, and no rows.
            kept = apart(lambda: _keep(_read(job, data.files, scratch), scratch), "reading rows")
            loaded = _load(job, model.folder)
            report = apart(
                lambda: _build(
                    job, scratch, _kept(kept), loaded, fingerprint, data.hashes, model.digest
                ),
                "tokenising rows",
            )
            result = _result(
                job, model, loaded, fingerprint, report, origin, pretend_gpus=pretend_gpus
            )
            sources.publish(job, store, scratch / "prepared", fingerprint)
            say(f"stored as prepared/{fingerprint}")
        plan = result.plan
        if origin is not None and not origin.is_own:
            continued.check(origin, job, report, steps=plan.steps)
            continued.take(origin, job, store, fingerprint)
            say(f"goes on from step {origin.step} of {origin.folder}")
        plan = _store_plan(store, job.spec.output.uri, plan)
        result = result.model_copy(update={"plan": plan})
        say(f"{plan.steps} steps of {plan.global_batch} rows; {'; '.join(plan.reasons)}")
        return result


def _store_plan(store: ObjectStore, output: str, made: Plan) -> Plan:
    """Write the run's next plan, where what it says is new; the plan in force."""
    from finetune_trainer.gang.rollback import ROLLBACKS, revised
    from finetune_trainer.gang.smaller import SHRUNK, shrunk
    from finetune_trainer.storage.plans import newest_plan

    number, newest = newest_plan(store, output)
    plan = made.to_wire()
    if times := newest.get(ROLLBACKS, 0):
        plan = revised(plan, times)
    if times := newest.get(SHRUNK, 0):
        plan = shrunk(plan, times)
    if {**plan, "reasons": []} != {**newest, "reasons": []}:
        store.write_json(f"{output}{plan_name(number + 1)}", plan)
    return Plan.model_validate(plan, extra="ignore")


@contextmanager
def claimed_output(job: JobConfig, store: ObjectStore) -> Iterator[None]:
    """One run, one folder: UserError when the output belongs to another run. A claim on a folder
    that nothing was written to is given back when prepare fails, so that a corrected job may use
    the same folder."""
    uri = f"{job.spec.output.uri}run.json"
    claim_output(job, store, uri)
    try:
        yield
    except JobError:
        with suppress(JobError):
            if [item.uri for item in store.list(job.spec.output.uri)] == [uri]:
                store.delete(uri)
        raise


def claim_output(job: JobConfig, store: ObjectStore, uri: str) -> None:
    """Write run.json, or find this run's own there."""
    mine = {
        "apiVersion": PROGRESS_VERSION, "namespace": job.namespace, "name": job.name,
        "identityHash": job.identity_hash,
    }  # fmt: skip
    if store.write_json(uri, mine, if_absent=True):
        return
    there = store.read_json(uri) or {}
    if all(there.get(key) == mine[key] for key in ("namespace", "name", "identityHash")):
        return
    owner = f"{there.get('namespace')}/{there.get('name')}"
    if owner == f"{job.namespace}/{job.name}":
        raise UserError(
            f"output.uri {job.spec.output.uri} holds an earlier run of {owner} with other settings",
            "choose another output.uri, or remove the folder",
        )
    raise UserError(
        f"output.uri {job.spec.output.uri} belongs to {owner}, this is {job.namespace}/{job.name}",
        "give every run its own output.uri",
    )


def _read(job: JobConfig, files: list[Any], scratch: Path) -> Any:
    """Sound rows, split; changed versions of training rows beside them where the job wants them."""
    from finetune_trainer.data import languages
    from finetune_trainer.data.augment import Augmenter
    from finetune_trainer.data.rows import read

    layouts = LAYOUTS[learnt(job.spec.task, job.spec.objective)]
    seed = job.spec.training.seed
    rows = read(
        files, job.spec.dataset, layouts, seed=seed, scratch=scratch / "work",
        general_layouts=general_layouts(job.spec.task, job.spec.objective),
    )  # fmt: skip
    languages.forget()
    found = rows.gathered
    of = f" of {len(found.labels)} classes" if found.labels else ""
    say(f"{found.rows} rows{of} read and checked, layout {found.layout}")
    augmentation = job.spec.dataset.augmentation
    if augmentation is not None and augmentation.text is not None:
        rows = Augmenter(rows, augmentation.text, seed).augmented(scratch / "work/augmented.arrow")
        say(f"{rows.augmented['rows']} changed versions of training rows added")
    elif augmentation is not None:
        rows = replace(rows, augmented={"everyPass": augmentation.to_wire()})
    return rows


def _keep(rows: Any, scratch: Path) -> Path:
    """Leave rows to another process."""
    path = scratch / "rows.pickle"
    with path.open("wb") as file:
        pickle.dump(rows, file, protocol=pickle.HIGHEST_PROTOCOL)
    return path


def _kept(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  (this run's own)


@dataclass(frozen=True)
class Loaded:
    """The model's configuration and tokenizer (of media: its processor), as its libraries read
    them."""

    config: Any
    tokenizer: Any


def _load(job: JobConfig, folder: Path) -> Loaded:
    """UserError when the model does not fit the task or cannot be read. Imports torch."""
    from finetune_trainer.model import checks
    from finetune_trainer.model.inputs import read_processor
    from finetune_trainer.tasks.registry import task_class
    from finetune_trainer.uncompiled import import_quantisation

    import_quantisation()
    uri = job.spec.model.uri
    config = checks.read_config(folder, uri)
    task_class(job.spec, config).check(config, uri)
    return Loaded(config, read_processor(folder, job.spec))


def _build(
    job: JobConfig,
    scratch: Path,
    rows: Any,
    loaded: Loaded,
    fingerprint: str,
    hashes: list[Any],
    model: str,
) -> dict[str, Any]:
    """Make the prepared folder; its report."""
    from finetune_trainer.data import general_build
    from finetune_trainer.data.build import build
    from finetune_trainer.data.gather import FILE_PARTS
    from finetune_trainer.tasks.registry import task_class

    out = scratch / "prepared"
    encoding = task_class(job.spec, loaded.config).encoding(job, loaded.tokenizer)
    built = build(
        rows, job.spec.dataset, encoding,
        seed=job.spec.training.seed, tokenizer=loaded.tokenizer,
        model_config=loaded.config, virtual_tokens=job.spec.method.virtual_tokens,
        scratch=scratch / "work", out=out, say=say,
    )  # fmt: skip
    report = dict(built.report)
    if rows.general is not None:
        report["general"] = general_build.build(
            rows.general, job, encoding, built.max_length.tokens,
            tokenizer=loaded.tokenizer, model_config=loaded.config,
            scratch=scratch / "work/general", out=out, say=say,
        )  # fmt: skip
        report["bytes"] = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    named = [{"part": FILE_PARTS[part], "name": name, "sha256": sha} for part, name, sha in hashes]
    report |= {
        "fingerprint": fingerprint, "labels": built.labels, "hashes": named, "model": model
    }  # fmt: skip
    (out / "data-report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
    return report


def _result(
    job: JobConfig,
    model: Any,
    loaded: Loaded,
    fingerprint: str,
    report: dict[str, Any],
    origin: Any,
    *,
    pretend_gpus: bool,
) -> PrepareResult:
    """Plan and needs from the data's report and the model's shape."""
    from finetune_trainer.model.trace import traced
    from finetune_trainer.model.trainable import to_train
    from finetune_trainer.plan import make_needs, make_plan
    from finetune_trainer.tasks.registry import task_class

    task = task_class(job.spec, loaded.config)
    base = task.on_meta(loaded.config, report["labels"], loaded.tokenizer.pad_token_id)
    model_to_train, shape = to_train(base, job.spec)
    length = report["maxLength"]["tokens"] + report["newTokens"]
    passes = traced(model_to_train, task.trial, length)
    summary = DataSummary.model_validate(report["summary"])
    plan: Plan = make_plan(
        job, shape, passes, train_rows=summary.train_rows, max_length=length,
        max_length_reason=report["maxLength"]["reason"], sequences=report["sequences"],
        can_checkpoint=model_to_train.supports_gradient_checkpointing,
        written=origin.binding if origin is not None else None, pretend_gpus=pretend_gpus,
    )  # fmt: skip
    needs = make_needs(job, plan, shape, model_bytes=model.bytes, data_bytes=report["bytes"])
    folder = f"{job.spec.output.uri}prepared/{fingerprint}/"
    prepared = Prepared(
        inputs_hash=job.inputs_hash,
        fingerprint=fingerprint,
        cpu=needs.cpu,
        memory=needs.memory,
        shared_memory=needs.shared_memory,
        disk=needs.disk,
        grace_seconds=needs.grace_seconds,
        model_bytes=model.bytes,
        checkpoint_bytes=needs.checkpoint_bytes,
    )
    data = summary.model_copy(update={"report": f"{folder}data-report.json"})
    return PrepareResult(prepared=prepared, plan=plan, data=data)
