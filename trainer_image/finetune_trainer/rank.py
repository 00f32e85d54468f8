"""One rank: joins the others and goes through baseline, train, evaluate, export, report."""

import json
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_api.errors import JobError
from finetune_api.exits import EXIT_CODES, ExitClass
from finetune_api.progress import Plan, Stage
from finetune_trainer.config import ENV_RESUME, Places, load_config
from finetune_trainer.diagnosis import diagnose
from finetune_trainer.telemetry.channel import Channel

FAILED = 1
"""Exit code of a rank that failed; the supervisor reads the event, not the code."""


class Preempted(Exception):  # noqa: N818  (an outcome, not an error)
    """All ranks obey a stop request after ``step``."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run to the end; the exit code. Whatever goes wrong is told as an event first."""
    channel = Channel.from_env(environ)
    try:
        run(environ, channel)
    except Preempted as leaving:
        channel.preempted(leaving.step)
        return EXIT_CODES[ExitClass.PREEMPTED]
    except JobError as error:
        failure = error.failure()
        channel.failed(failure.exit_class, failure.message, failure.remedy, channel.step)
        sys.stderr.write(f"{failure.sentence()}\n")
        return failure.code
    except Exception as error:
        traceback.print_exc()
        last = traceback.format_exception_only(error)[-1].strip()
        kind, remedy = diagnose(last)
        channel.failed(kind, last[:1500], remedy, channel.step)
        return FAILED
    channel.done()
    return 0


def run(environ: Mapping[str, str], channel: Channel) -> None:
    """All stages; Preempted, or the error that ended them."""
    job, places = load_config(environ), Places.from_env(environ)
    plan = Plan.model_validate(json.loads(places.plan.read_text()), extra="ignore")
    _quiet()

    from finetune_trainer.distributed import Gang
    from finetune_trainer.uncompiled import import_quantisation

    import_quantisation()
    gang = Gang.join(job.device, deepspeed=plan.with_deepspeed, environ=environ)
    if gang.world != plan.ranks:
        raise JobError(f"{gang.world} ranks were started and the plan is for {plan.ranks}")

    from finetune_trainer.session import Session, Stopped

    session = Session(job, plan, places, gang, channel)
    resume = environ.get(ENV_RESUME)
    try:
        _stages(session, Path(resume) if resume else None)
    except Stopped:
        raise Preempted(channel.step) from None
    gang.barrier()
    gang.leave()


def _stages(session: Any, resume: Path | None) -> None:
    from finetune_trainer import zero
    from finetune_trainer.evaluate import gate
    from finetune_trainer.evaluate.forgetting import Forgetting
    from finetune_trainer.export import export
    from finetune_trainer.model import checks
    from finetune_trainer.model.inputs import read_processor
    from finetune_trainer.model.trainable import trainable
    from finetune_trainer.tasks.registry import task_class
    from finetune_trainer.train import train

    job, channel = session.job, session.channel
    tokenizer = read_processor(session.places.model, job.spec)
    config = checks.read_config(session.places.model, job.spec.model.uri)
    task = task_class(job.spec, config)(session, tokenizer)
    zero.place(session, task.loaded.model)
    task.baseline()
    forgetting = Forgetting(session, task)
    model = trainable(task.loaded, job.spec)
    channel.stage(Stage.TRAIN)
    steps = train(session, task, model, resume)
    if steps.stopped:
        raise Preempted(channel.step)
    task.evaluate(model)
    forgetting.evaluate(model)
    gate.refuse_what_is_no_better(session)
    channel.stage(Stage.EXPORT)
    export(session, task, model, tokenizer)
    session.gang.barrier()
    channel.stage(Stage.REPORT)


def _quiet() -> None:
    """Progress bars and advice of libraries do not belong into a rank's log."""
    import datasets
    import transformers

    warnings.simplefilter("ignore", FutureWarning)
    warnings.filterwarnings("ignore", message=".*base_model_name_or_path.*")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
