"""Model, prepared data, cached baseline and plan to the node's disk, before the first epoch."""

import json
import os
import shutil

from finetune_api.errors import UserError
from finetune_api.jobconfig import JobConfig
from finetune_trainer.config import Places, plan_name
from finetune_trainer.continued import what_must_be_alike
from finetune_trainer.gang.agent_client import StorageAgent
from finetune_trainer.gang.state import RunState
from finetune_trainer.storage.manifest import MANIFEST
from finetune_trainer.storage.uris import join, parse


async def fetch_inputs(
    agent: StorageAgent, config: JobConfig, places: Places, state: RunState
) -> None:
    """Everything that ranks read; a mounted model (`file://`) is linked, not copied."""

    def progress(moved: int, total: int) -> None:
        state.sync_bytes = (moved, total)

    if config.fingerprint is None:
        raise UserError("the job has no prepared data", "run prepare first")
    output, fingerprint = config.spec.output.uri, config.fingerprint
    await agent.insist(
        "fetch_folder", uri=join(output, "prepared", fingerprint) + "/",
        destination=str(places.prepared), progress=progress,
    )  # fmt: skip
    baseline = join(output, "baseline", fingerprint) + "/"
    if MANIFEST in await agent.insist("list", uri=baseline):
        await agent.insist("fetch_folder", uri=baseline, destination=str(places.baseline))
    model = parse(config.spec.model.uri)
    if model.scheme == "file":
        _link_model(model.path, places)
    else:
        await agent.insist(
            "fetch_model", uri=config.spec.model.uri, destination=str(places.model),
            progress=progress,
        )  # fmt: skip


async def fetch_plan(agent: StorageAgent, config: JobConfig, places: Places, number: int) -> None:
    """The plan with this number; the first is prepare's."""
    output, name = config.spec.output.uri, plan_name(number)
    plan = await agent.insist("read_json", uri=join(output, name))
    if plan is None:
        raise UserError(f"{output} holds no {name}", "run prepare again")
    places.plan.write_text(json.dumps(plan))


def _link_model(source: "os.PathLike[str]", places: Places) -> None:
    if not os.path.isdir(source):
        raise UserError(f"the model folder {source} does not exist", "correct spec.model.uri")
    if places.model.is_symlink():
        places.model.unlink()
    elif places.model.exists():
        shutil.rmtree(places.model)
    places.model.symlink_to(source, target_is_directory=True)


def plan_facts(places: Places) -> dict[str, object]:
    """What the manifest of a step says about the plan it was computed with."""
    try:
        plan = json.loads(places.plan.read_text())
    except (OSError, ValueError):
        return {}
    names = (
        "strategy", "zeroStage", "precision", "globalBatch", "microBatch", "accumulation", "steps"
    )  # fmt: skip
    return {name: plan[name] for name in names if name in plan}


def run_facts(config: JobConfig, places: Places) -> dict[str, object]:
    """What the manifest of a step says about the run: whoever goes on from it must be alike."""
    try:
        report = json.loads((places.prepared / "data-report.json").read_text())
    except (OSError, ValueError):
        report = {}
    return what_must_be_alike(config, report)
