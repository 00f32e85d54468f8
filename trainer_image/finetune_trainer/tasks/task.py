"""What a task is: how rows are encoded, and a model is measured, trained, compared.

The static methods serve ``prepare``, which has a model's configuration but no weights; an instance
serves one rank. A new task is a file of its own and a line in the registry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Overlength
from finetune_api.jobconfig import JobConfig
from finetune_trainer.data import pieces
from finetune_trainer.data.encode import Encoder
from finetune_trainer.data.gather import Gathered

if TYPE_CHECKING:
    from finetune_trainer.evaluate.exam import Exam
    from finetune_trainer.evaluate.forward import Rows
    from finetune_trainer.model.load import Loaded
    from finetune_trainer.session import Session


Split = Callable[[pa.RecordBatch, int], tuple[pa.RecordBatch, NDArray[np.int64]]]


@dataclass(frozen=True)
class Encoding:
    """How a task encodes rows."""

    length_cap: int
    """Largest maxLength that is taken when the job gives none."""
    encoder: Callable[[Gathered], Encoder]
    """Makes the encoder of rows of one layout, with these labels."""
    overlength: Overlength = Overlength.TRUNCATE
    """What happens to long rows when the job does not say."""
    split: Split = pieces.split
    """How long rows become several of at most so many tokens, with the row that each came from."""
    lost: Callable[[pa.RecordBatch], NDArray[np.bool_]] | None = None
    """Which encoded rows hold nothing to learn; only the comparison wants them."""
    whole: bool = False
    """Rows are never cut: maxLength is the length of the longest."""
    sequences: int = 1
    """Texts of maxLength that a row makes the model read at once."""
    new_tokens: int = 0
    """Tokens that training adds to each of them."""


class Task(Protocol):
    """One task."""

    loaded: "Loaded"
    """The base model, as it is to be trained."""
    parts: "dict[str, Rows]"
    """Prepared rows by part."""

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the architecture cannot learn this task."""
        ...

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """How the job's rows are encoded."""
        ...

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> "Loaded":
        """The model without weights, for counting."""
        ...

    @staticmethod
    def trial(model: Any, rows: int, length: int) -> Any:
        """The loss of some rows of so many tokens, computed as training does, for counting."""
        ...

    def __init__(self, session: "Session", tokenizer: Any) -> None:
        """Load the base model and the prepared rows."""
        ...

    def baseline(self) -> None:
        """Measure the base on the test rows; what training starts from may come of it."""
        ...

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """The FineTuneTrainer of this task. ``options`` are TrainingArguments by name, ``parts``
        its other arguments."""
        ...

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows; the same on every rank."""
        ...

    def evaluate(self, model: Any) -> None:
        """Compare the tuned model with its base on the test rows, and tell."""
        ...

    def exam(self, folder: Path) -> "Exam":
        """How a model is examined by the prepared rows in ``folder``, which are no part of what is
        learnt; after the baseline, before anything is trained."""
        ...

    def describe(self, folder: Path) -> None:
        """Write what belongs to the exported result beside weights and tokenizer."""
        ...
