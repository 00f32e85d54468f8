"""Rows of a micro-batch laid end to end: no token is padding, and each row is read as if alone.

Which rows an optimizer step learns, and what it divides their loss by, stay what they are. Not all
architectures keep rows apart, and those that do not say nothing (OPT and BLOOM read across), so
the model is tried on two rows before any training.
"""

import json
import sys
from typing import Any

import torch

from finetune_trainer.evaluate.forward import Rows, inference
from finetune_trainer.objectives.cross_entropy import collator
from finetune_trainer.session import Session

TRIAL = (7, 12)
"""Lengths in tokens of the rows that are tried."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Largest difference of logits that rounding explains, as a share of the largest logit."""
RECORD = "packing.json"


def packed(rows: Rows, session: Session, model: Any, pad: int) -> Rows:
    """Training rows that are laid end to end, where the job wants that and the model keeps them
    apart; as they are otherwise."""
    if not session.job.spec.training.packing:
        return rows
    difference = reads_across(model, pad, autocast=session.autocast)
    limit = TOLERANCE[torch.bfloat16 if session.autocast else torch.float32]
    apart = difference is not None and difference <= limit
    if session.gang.is_main:
        _record(session, apart=apart, difference=difference)
    return Rows(rows.dataset, collator(pad, flat=True), rows.lengths) if apart else rows


def reads_across(model: Any, pad: int, *, autocast: bool = False) -> float | None:
    """Largest difference of the logits of two rows laid end to end and of each alone, as a share of
    the largest logit; None when the model does not take such rows."""
    device = model.get_input_embeddings().weight.device
    size = model.get_input_embeddings().weight.shape[0]
    drawn = torch.Generator().manual_seed(0)
    texts = [torch.randint(size, (length,), generator=drawn) for length in TRIAL]
    flat = collator(pad, flat=True)([{"input_ids": text.tolist()} for text in texts])
    flat = {name: _on(value, device) for name, value in flat.items() if name != "labels"}
    with inference(model, autocast=autocast):
        try:
            together = model(**flat, use_cache=False).logits[0].float()
        except TypeError:
            return None
        alone = torch.cat(
            [model(input_ids=text[None].to(device), use_cache=False).logits[0] for text in texts]
        ).float()
    return float((together - alone).abs().max() / alone.abs().max())


def _on(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value


def _record(session: Session, *, apart: bool, difference: float | None) -> None:
    folder = session.places.report
    folder.mkdir(parents=True, exist_ok=True)
    document = {"packed": apart, "largestDifference": difference}
    (folder / RECORD).write_text(json.dumps(document, indent=1))
    if not apart:
        sys.stderr.write("packing is off: this model reads across rows that stand end to end\n")
