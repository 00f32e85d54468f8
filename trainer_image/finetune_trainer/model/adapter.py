"""LoRA: which layers get an adapter, and what is trained in full beside it.

Freshly initialised modules and the head have nothing to adapt: they are trained in full and saved
with the adapter.
"""

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from finetune_api import defaults
from finetune_api.errors import UserError
from finetune_api.job import Lora
from finetune_trainer.model.load import Classifier

ADAPTABLE = (nn.Linear, Conv1D)


def targets(classifier: Classifier, lora: Lora) -> list[str]:
    """Full names of the layers that get an adapter; UserError when a name matches nothing."""
    linear = [
        name for name, module in classifier.model.named_modules()
        if isinstance(module, ADAPTABLE) and not _inside(name, classifier.fresh)
    ]  # fmt: skip
    if lora.target_modules is None:
        return linear
    chosen: list[str] = []
    for asked in lora.target_modules:
        matching = [name for name in linear if name == asked or name.endswith(f".{asked}")]
        if not matching:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise UserError(
                f"method.lora.targetModules: no linear layer is called {asked!r}",
                f"use some of {', '.join(known[:12])}, or leave it out for all",
            )
        chosen += matching
    return list(dict.fromkeys(chosen))


def wrap(classifier: Classifier, lora: Lora, *, seed: int, base_uri: str) -> Any:
    """The model with adapters; everything else but the fresh modules is frozen."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import set_seed

    set_seed(seed)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        base_model_name_or_path=base_uri,
        r=lora.rank,
        lora_alpha=lora.alpha or defaults.lora_alpha(lora.rank),
        lora_dropout=lora.dropout,
        target_modules=targets(classifier, lora),
        modules_to_save=list(classifier.fresh),
    )
    model = get_peft_model(classifier.model, config)
    # PEFT overwrites the base's address with the local folder it was loaded from.
    model.peft_config["default"].base_model_name_or_path = base_uri
    return model


def trainable_count(classifier: Classifier, lora: Lora | None) -> int:
    """Weights that are trained, counted without making the adapter."""
    if lora is None:
        return sum(weight.numel() for weight in classifier.model.parameters())
    modules = dict(classifier.model.named_modules())
    adapters = sum(
        lora.rank * sum(modules[name].weight.shape) for name in targets(classifier, lora)
    )
    fresh = sum(
        weight.numel() for name in classifier.fresh for weight in modules[name].parameters()
    )
    return adapters + fresh


def _inside(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
