"""README.md of a result, as model hubs read it: what it was made of, and what it gained."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finetune_api.jobconfig import JobConfig
from finetune_api.learning import MEDIA, Objective
from finetune_api.progress import Plan
from finetune_trainer.storage.hub import loadable

PIPELINES = {
    "QuestionAnswering": "question-answering",
    "AudioClassification": "audio-classification",
    "ImageClassification": "image-classification",
    "TextClassification": "text-classification",
    "TextGeneration": "text-generation",
    "SpeechRecognition": "automatic-speech-recognition",
    "Summarization": "summarization",
    "TokenClassification": "token-classification",
    "Translation": "translation",
}
LIBRARIES = ("transformers", "peft", "trl", "torch", "deepspeed")


def write_card(
    folder: Path,
    job: JobConfig,
    plan: Plan,
    comparisons: Mapping[str, Any],
    data: Mapping[str, Any],
) -> None:
    """Write the card into a result's folder. ``comparisons`` are evaluation.json and, of a general
    set, forgetting.json by name, ``data`` is the prepared data's report."""
    from huggingface_hub import ModelCard, ModelCardData

    spec = job.spec
    pipeline = PIPELINES[spec.task]
    if spec.objective is Objective.REWARD:
        pipeline = PIPELINES["TextClassification"]
    about = ModelCardData(
        base_model=loadable(spec.model.uri)[0], library_name="peft" if spec.method.makes_adapter
        else "transformers", pipeline_tag=pipeline, tags=["finetune-operator"],
    )  # fmt: skip
    ModelCard(f"---\n{about.to_yaml()}\n---\n\n{_text(job, plan, comparisons, data)}").save(
        folder / "README.md"
    )


def _text(
    job: JobConfig, plan: Plan, comparisons: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    spec, summary = job.spec, data["summary"]
    method = json.dumps(spec.method.to_wire(), ensure_ascii=False)
    settings = {
        "method": method,
        "steps": plan.steps,
        "global batch": plan.global_batch,
        "peak learning rate": f"{plan.learning_rate:g}",
        "optimizer": spec.training.optimizer,
        "precision": plan.precision,
        "longest row": f"{plan.max_length} {'positions' if spec.task in MEDIA else 'tokens'}",
        "seed": spec.training.seed,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"""# {job.name}

Fine-tuned from `{spec.model.uri}` for {" ".join(filter(None, (spec.task, spec.objective)))}.

## Base against tuned

On the same held-out rows, with the bootstrap 95 % interval of the difference.

{_compared(comparisons["evaluation"])}
{_forgetting(job, comparisons.get("forgetting"))}
## Data

`{spec.dataset.train.uri}`: {summary["trainRows"]} training rows,
{summary["validationRows"]} validation rows, {summary["testRows"]} test rows.
Fingerprint of data, tokenizer and settings: `{data["fingerprint"]}`.

| part | file | SHA-256 |
|---|---|---|
{_files(data)}

## Training

| | |
|---|---|
{table}

{libraries}.
"""


def _compared(comparison: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {one['metric']} | {one['base']} | {one['tuned']} | {one['interval']} | {one['rows']} |"
        for one in comparison["results"]
    )
    return f"""| metric | base | tuned | difference | rows |
|---|---|---|---|---|
{rows}
"""


def _forgetting(job: JobConfig, comparison: Mapping[str, Any] | None) -> str:
    general = job.spec.evaluation.forgetting
    if general is None or comparison is None:
        return ""
    return f"""## Forgetting

On the general set `{general.uri}`. Tuned is better on {comparison["wins"]} rows, the same on
{comparison["ties"]}, worse on {comparison["losses"]}.

{_compared(comparison)}
"""


def _files(data: Mapping[str, Any]) -> str:
    return "\n".join(
        f"| {file['part']} | {file['name']} | `{file['sha256']}` |" for file in data["hashes"]
    )
