"""What base and tuned model write of recordings, compared and told."""

from collections.abc import Callable
from typing import Any

import numpy as np

from finetune_trainer.evaluate import transcripts
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.generate import Reference
from finetune_trainer.evaluate.report import write_answers
from finetune_trainer.session import Session


def tell(session: Session, wanted: list[str], base: list[str], tuned: list[str]) -> None:
    """Compare what base and tuned model write of the test rows, and tell (on rank 0)."""
    if not session.gang.is_main:
        return
    rows = [Reference(f"test row {row}", text) for row, text in enumerate(wanted, 1)]
    result = transcripts.compare(wanted, base, tuned, seed=session.job.spec.training.seed)
    write_answers(session, result, rows, base, tuned)


def exam(session: Session, wanted: list[str], written: Callable[[Any], list[str]]) -> Exam:
    """Texts that a model has ``written``, compared as those of the test rows."""
    seed = session.job.spec.training.seed
    return Exam(
        lambda model: np.array(written(model)),
        lambda base, tuned: transcripts.compare(wanted, base.tolist(), tuned.tolist(), seed=seed),
    )
