"""What an objective of TextGeneration is: how rows are encoded, and what is measured and minimised.

A new objective is a file of its own and a line in the registry. The static methods serve
``prepare``, which has no weights; an instance serves one rank.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetune_api.jobconfig import JobConfig
from finetune_trainer.tasks.task import Encoding

if TYPE_CHECKING:
    from finetune_trainer.evaluate.forward import Rows
    from finetune_trainer.model.load import Loaded
    from finetune_trainer.session import Session


class Objective(Protocol):
    """One objective."""

    parts: "dict[str, Rows]"
    """Prepared rows by part, as the trainer reads them."""

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """How the job's rows are encoded."""
        ...

    def __init__(self, session: "Session", tokenizer: Any, loaded: "Loaded") -> None:
        """Load the prepared rows; ``loaded`` is the base model."""
        ...

    def baseline(self) -> None:
        """Measure the base on the test rows, and whatever training needs to know of it."""
        ...

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """The FineTuneTrainer. ``options`` are TrainingArguments by name, ``parts`` its other
        arguments."""
        ...

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows; the same on every rank."""
        ...

    def evaluate(self, model: Any) -> None:
        """Compare the tuned model with its base on the test rows, and tell."""
        ...

    def describe(self, folder: Path) -> None:
        """Write what belongs to the exported result beside weights and tokenizer."""
        ...
