"""The evaluation and output blocks of a FineTuneJob: what must be reached, and what is kept.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from finetune_api.base import Document
from finetune_api.shapes import ObjectUri, OutputUri, Word


class Gate(Document):
    """What the tuned model must be better in than its base."""

    metric: Word
    """One of the task's metrics: `accuracy`, `exact_match` …"""
    min_improvement: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """By how much it must be better on the test rows; any gain counts with 0."""


class Forgetting(Document):
    """A general set: what the model could do before, and is to be able to do still."""

    uri: ObjectUri
    """A file, or every data file below a prefix. For TextGeneration plain texts (column
    `dataset.columns.text`, or `.txt` files), compared by perplexity, or prompts with completions or
    conversations, compared by the answers that are written; for objective Reward and for other
    tasks rows as those of `dataset.test`, compared by the same metrics. Training rows that stand in
    it as well are left out of it."""


class Evaluation(Document):
    """How base and tuned model are compared on the test rows, and on a general set."""

    gate: Gate | None = None
    """A run that does not reach it ends as failed with reason GateNotMet: its report is kept, its
    adapter or model is not. Default: every run succeeds that trains to its end."""
    forgetting: Forgetting | None = None
    """Rows of another kind than those that are learnt, on which base and tuned model are compared
    as well: what the model has lost of what its base could do. It is told, and decides nothing."""


class Artifact(StrEnum):
    """A form of the result."""

    ADAPTER = "Adapter"
    MERGED = "Merged"


class Output(Document):
    """Where results go."""

    uri: OutputUri
    """Folder of this run in the bucket: prepared data, checkpoints, adapter or model, report.
    One run, one folder: a folder that holds another run is refused. Ends with a slash."""
    artifacts: Annotated[list[Artifact], Field(min_length=1, max_length=2)] | None = None
    """Forms of the result that are kept, for methods that make an adapter: `Adapter`, the default,
    in `adapter/`; `Merged`, the whole model in `merged/`, put together with the base in float32 and
    compared with the adapter on held-out rows: the largest difference of their outputs is in the
    report."""
    model_card: bool = True
    """Write README.md beside the result: base, data and their hashes, method, base against
    tuned."""
