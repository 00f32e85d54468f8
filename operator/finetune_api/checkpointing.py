"""The checkpointing block of a FineTuneJob.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from typing import Annotated

from pydantic import Field, model_validator

from finetune_api import rules
from finetune_api.base import Document
from finetune_api.shapes import OutputUri


class Checkpointing(Document):
    """When training state is saved, and what of it stays."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Optimizer steps between checkpoints, at which the validation loss is measured as well.
    Default: ten a run, and more in between by time."""
    every_minutes: Annotated[int, Field(ge=1, le=10_080)] | None = None
    """Minutes of training after which a checkpoint is saved beside those ten. Default: from what
    saving costs and how often a pod is assumed to be lost; shown in `status.plan`. Excludes
    `everySteps`. One that is due while the one before is still on its way to the bucket waits."""
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 2
    """Newest checkpoints that stay in the bucket. Older ones are deleted when a newer one is
    complete, except the best (`keepBest`) and those beside whose files lies an object `PINNED`."""
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    """Checkpoints with the lowest validation loss that stay as well. The best weights themselves
    travel with every checkpoint; this keeps the whole state of training at that step."""
    resume_from: OutputUri | None = None
    """Checkpoint of another run that this one goes on from, with its weights, optimizer states and
    step: its folder (`s3://bucket/run/checkpoints/a0001/step-00000100/`), or the folder of the run,
    whose newest is taken. Task, objective, model, method, optimizer, layout of the rows and
    classes must be the same. `prepare` checks every file and copies it into this run's folder.
    Default: the model as it is. A run that was interrupted goes on from its own checkpoints by
    itself."""
    grace_seconds: Annotated[int, Field(ge=10, le=86400)] | None = None
    """Time a pod gets to save when it is asked to leave. Default: from the checkpoint's size, at
    least 60."""

    _rules = model_validator(mode="after")(rules.check("spec.checkpointing"))
