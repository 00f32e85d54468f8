"""How a language model is examined by rows that are not its own, whatever it learns."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from trl.trainer.utils import add_fused_lm_head

from finetune_api.learning import Layout
from finetune_trainer.evaluate import answers, texts
from finetune_trainer.evaluate.exam import Exam
from finetune_trainer.evaluate.forward import Rows, forward
from finetune_trainer.evaluate.generate import Writer
from finetune_trainer.objectives.cross_entropy import collator, loss_and_tokens
from finetune_trainer.session import Session


def of_rows(session: Session, tokenizer: Any, model: Any, folder: Path) -> Exam:
    """Loss and perplexity of plain texts; of prompts with answers, exact match of those that are
    written. ``model`` is the base, before anything is wrapped around it."""
    rows = Rows.of(folder, collator(tokenizer.pad_token_id))
    seed = session.job.spec.training.seed
    report = json.loads((session.places.prepared / "data-report.json").read_text())
    if report["general"]["layout"] == Layout.TEXT:
        add_fused_lm_head(model)
        return Exam(
            lambda model: forward(model, rows, session, loss_and_tokens, may_stop=True),
            partial(texts.compare, seed=seed),
        )
    writer = Writer(session, tokenizer, rows)
    asked = [row.prompt for row in writer.references()]
    wanted = [row.answer for row in writer.references()]
    return Exam(
        lambda model: np.array(writer.answers(model)),
        lambda base, tuned: answers.compare(
            asked, wanted, base.tolist(), tuned.tolist(), seed=seed
        ),
    )
