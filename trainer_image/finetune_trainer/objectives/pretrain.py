"""Continued pretraining: the model learns plain texts, every token of them."""

from pathlib import Path
from typing import Any

import numpy as np
from trl.trainer.utils import add_fused_lm_head

from finetune_api.dataset import Overlength
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import Stage
from finetune_trainer.data.pieces import PieceEncoder
from finetune_trainer.evaluate import baseline, texts
from finetune_trainer.evaluate.forward import forward
from finetune_trainer.evaluate.report import write_comparison
from finetune_trainer.model.load import Loaded
from finetune_trainer.objectives.cross_entropy import loss_and_tokens
from finetune_trainer.objectives.written import LENGTH_CAP, Written
from finetune_trainer.session import Session
from finetune_trainer.tasks.task import Encoding


class Pretrain(Written):
    """Measures the loss of the test texts, trains, measures it again."""

    def __init__(self, session: Session, tokenizer: Any, loaded: Loaded) -> None:
        super().__init__(session, tokenizer, loaded)
        add_fused_lm_head(loaded.model)

    @staticmethod
    def encoding(job: JobConfig, tokenizer: Any) -> Encoding:
        """Texts, long ones as several rows."""
        return Encoding(
            LENGTH_CAP,
            lambda rows: PieceEncoder(tokenizer, job.spec.model.uri),
            Overlength.SPLIT,
        )  # fmt: skip

    def baseline(self) -> None:
        """The base's loss of the test rows."""
        self.base = baseline.passed(self.session, self.loaded.model, self._losses, "losses")
        self.pack()

    def evaluate(self, model: Any) -> None:
        """Loss and perplexity against the base's."""
        session = self.session
        session.channel.stage(Stage.EVALUATE)
        tuned = self._losses(model)
        if session.gang.is_main:
            seed = session.job.spec.training.seed
            write_comparison(session, texts.compare(self.base, tuned, seed=seed))
            np.savez(session.places.report / "losses.npz", base=self.base, tuned=tuned)

    def describe(self, folder: Path) -> None:
        """Nothing: a text has no special end."""

    def _losses(self, model: Any) -> Any:
        """Summed loss and number of tokens of each test row."""
        return forward(model, self.parts["test"], self.session, loss_and_tokens, may_stop=True)
