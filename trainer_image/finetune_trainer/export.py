"""The forms of the result that a job asks for, each a folder of its own."""

import json
from pathlib import Path
from typing import Any

from finetune_api.results import Artifact
from finetune_trainer import zero
from finetune_trainer.evaluate.report import EVALUATION, FORGETTING
from finetune_trainer.model.card import write_card
from finetune_trainer.model.files import write_model
from finetune_trainer.model.merge import merge
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Task

MERGE, DATA = "merge.json", "data-report.json"


def export(session: Session, task: Task, model: Any, tokenizer: Any) -> None:
    """Write and tell adapter, merged model or model. All ranks call it; rank 0 writes."""
    spec, places = session.job.spec, session.places
    is_adapter = spec.method.makes_adapter
    state = zero.whole_state(session, model, trained=is_adapter)
    if not session.gang.is_main:
        return
    folder = places.output / ("adapter" if is_adapter else "model")
    write_model(model, tokenizer, folder, state)
    folders = [folder]
    asked = spec.output.artifacts or [Artifact.ADAPTER]
    if is_adapter and Artifact.MERGED in asked:
        merged, difference = merge(session, model, task.parts["test"], folder)
        folders.append(places.output / "merged")
        write_model(merged, tokenizer, folders[-1], None)
        text = json.dumps({"largestDifference": difference}, indent=1)
        (places.report / MERGE).write_text(text, encoding="utf-8")
        if Artifact.ADAPTER not in asked:
            folders.remove(folder)
    for one in folders:
        _complete(session, task, one)
        session.channel.artifact(one.name, one)


def _complete(session: Session, task: Task, folder: Path) -> None:
    """What belongs beside weights and tokenizer."""
    task.describe(folder)
    if session.job.spec.output.model_card:
        comparisons = {
            name: json.loads(path.read_text())
            for name in (EVALUATION, FORGETTING)
            if (path := session.places.report / f"{name}.json").exists()
        }
        data = json.loads((session.places.prepared / DATA).read_text())
        write_card(folder, session.job, session.plan, comparisons, data)
