"""Base and adapter in one model, and how far its outputs are from theirs apart.

The base is loaded anew in float32: merging into quantised weights would round the adapter away.
"""

from pathlib import Path
from typing import Any

import torch

from finetune_trainer.evaluate.forward import Rows, inference, scores, without_labels
from finetune_trainer.model.files import plain_config
from finetune_trainer.session import Session

COMPARED_ROWS = 16


def merge(session: Session, model: Any, rows: Rows, adapter: Path) -> tuple[Any, float]:
    """The merged model, in host memory, and the largest difference of its outputs to those of
    ``model``, the trained one, on held-out ``rows``. Rank 0 alone; where it has but a share of the
    weights, the adapter on the base stands for the trained model.
    """
    from peft import PeftModel
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from finetune_trainer import zero

    # Or a base that was trained with ZeRO-3 would be split over ranks that are not here.
    unset_hf_deepspeed_config()
    base = model.get_base_model()
    loaded = type(base).from_pretrained(
        session.places.model, config=plain_config(base.config), dtype=torch.float32,
        local_files_only=True, ignore_mismatched_sizes=True,
    )  # fmt: skip
    whole = PeftModel.from_pretrained(loaded, str(adapter))
    batch = rows.collate([rows.dataset[row] for row in range(min(len(rows), COMPARED_ROWS))])
    told = _outputs(whole if zero.splits(session) else model, batch)
    merged = whole.merge_and_unload()
    return merged, float((told - _outputs(merged, batch)).abs().max())


def _outputs(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in without_labels(batch).items()}
    with inference(model, autocast=False):
        return scores(model(**inputs)).float().cpu()
