"""The checkpointing block of a FineTuneJob.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from typing import Annotated

from pydantic import Field

from finetune_api.base import Document


class Checkpointing(Document):
    """When training state is saved, and what of it stays."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Optimizer steps between checkpoints. Default: ten checkpoints a run."""
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 2
    """Newest checkpoints that stay in the bucket. Older ones are deleted when a newer one is
    complete, except the best (`keepBest`) and those beside whose files lies an object `PINNED`."""
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    """Checkpoints with the lowest validation loss that stay as well. The best weights themselves
    travel with every checkpoint; this keeps the whole state of training at that step."""
    grace_seconds: Annotated[int, Field(ge=10, le=86400)] | None = None
    """Time a pod gets to save when it is asked to leave. Default: from the checkpoint's size, at
    least 60."""
