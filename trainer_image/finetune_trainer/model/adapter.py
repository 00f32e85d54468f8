"""LoRA: which layers get an adapter, and what is trained in full beside it.

Freshly initialised modules and the head have nothing to adapt: they are trained in full and saved
with the adapter.
"""

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from finetune_api import defaults
from finetune_api.errors import UserError
from finetune_api.job import FineTuneJobSpec, Lora
from finetune_trainer.model.load import Loaded

ADAPTABLE = (nn.Linear, Conv1D)


def targets(loaded: Loaded, lora: Lora) -> list[str]:
    """Full names of the layers that get an adapter; UserError when a name matches nothing.

    A language model's output layer never gets one: the loss reads its weights past the adapter.
    """
    output = loaded.model.get_output_embeddings()
    linear = [
        name for name, module in loaded.model.named_modules()
        if isinstance(module, ADAPTABLE)
        and module is not output
        and not _inside(name, loaded.fresh)
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


def trainable(loaded: Loaded, spec: FineTuneJobSpec) -> Any:
    """The model as the job's method trains it. With LoRA everything but adapters and fresh modules
    is frozen."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import set_seed

    lora = spec.method.lora
    if lora is None:
        return loaded.model
    set_seed(spec.training.seed)
    config = LoraConfig(
        task_type=TaskType(loaded.peft_task),
        base_model_name_or_path=spec.model.uri,
        r=lora.rank,
        lora_alpha=lora.alpha or defaults.lora_alpha(lora.rank),
        lora_dropout=lora.dropout,
        target_modules=targets(loaded, lora),
        modules_to_save=list(loaded.fresh) or None,
    )
    model = get_peft_model(loaded.model, config)
    # PEFT overwrites the base's address with the local folder it was loaded from.
    model.peft_config["default"].base_model_name_or_path = spec.model.uri
    return model


def trainable_count(loaded: Loaded, lora: Lora | None) -> int:
    """Weights that are trained, counted without making the adapter."""
    if lora is None:
        return sum(weight.numel() for weight in loaded.model.parameters())
    modules = dict(loaded.model.named_modules())
    adapters = sum(lora.rank * sum(modules[name].weight.shape) for name in targets(loaded, lora))
    fresh = sum(weight.numel() for name in loaded.fresh for weight in modules[name].parameters())
    return adapters + fresh


def _inside(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
