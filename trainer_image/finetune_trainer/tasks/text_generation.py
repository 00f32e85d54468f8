"""Text generation with a causal language model; what it learns from is the objective's matter."""

from pathlib import Path
from typing import Any

from finetune_api.jobconfig import JobConfig
from finetune_trainer.evaluate import language_exam
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.model import checks, trial
from finetune_trainer.model.load import Loaded, load_language_model, meta_language_model
from finetune_trainer.objectives.registry import objective_class
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding


class TextGeneration:
    """Loads a causal language model and leaves the rest to the objective."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        job, places = session.job, session.places
        self.session, self.tokenizer = session, tokenizer
        config = checks.read_config(places.model, job.spec.model.uri)
        self.loaded = load_language_model(
            places.model, config, pad=tokenizer.pad_token_id,
            dropout=job.spec.training.dropout, storage=session.storage,
        )  # fmt: skip
        self.objective = objective_class(job.spec.objective)(session, tokenizer, self.loaded)

    @property
    def parts(self) -> Any:
        """Prepared rows by part."""
        return self.objective.parts

    trial = staticmethod(trial.of_language_model)

    @staticmethod
    def check(config: Any, uri: str) -> None:
        """UserError when the model is no causal language model."""
        checks.check_language_model(config, uri)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """As the objective has it."""
        return objective_class(job.spec.objective).encoding(job, tokenizer)

    @staticmethod
    def on_meta(config: Any, labels: list[str], pad: int | None) -> Loaded:
        """The language model without weights."""
        return meta_language_model(config)

    def baseline(self) -> None:
        """Measure the base."""
        self.objective.baseline()

    def trainer(self, options: dict[str, Any], **parts: Any) -> Any:
        """The objective's trainer."""
        return self.objective.trainer(options, **parts)

    def validate(self, model: Any) -> float:
        """Mean loss of the validation rows."""
        return self.objective.validate(model)

    def evaluate(self, model: Any) -> None:
        """Compare the tuned model with its base."""
        self.objective.evaluate(model)

    def exam(self, folder: Path) -> Exam:
        """Perplexity of texts; of prompts with answers, what is written."""
        return language_exam.of_rows(self.session, self.tokenizer, self.loaded.model, folder)

    def describe(self, folder: Path) -> None:
        """What belongs to the exported result."""
        self.objective.describe(folder)
