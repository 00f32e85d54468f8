"""A model's folder as other programs read it: a PEFT adapter, or a whole model."""

import copy
from pathlib import Path
from typing import Any

import torch


def write_model(model: Any, tokenizer: Any, folder: Path, state: dict[str, Any] | None) -> None:
    """Write ``model`` (PEFT or plain) with tokenizer and configuration.

    ``state``: its weights, where the model itself has only a share of them.

    The model's configuration is written beside an adapter as well: plain PEFT loads the base with
    it and has the right number of classes and their names. How the base was stored in this run
    is no part of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model.save_pretrained(folder, state_dict=state, safe_serialization=True)
    plain_config(model.config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain_config(config: Any) -> Any:
    """The configuration of a model that is not quantised."""
    plain = copy.copy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    return plain
