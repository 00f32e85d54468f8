"""The model as the job's method trains it: what is frozen, what is added."""

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch

from finetune_api.errors import UserError
from finetune_api.estimate import ModelShape
from finetune_api.job import FineTuneJobSpec
from finetune_trainer.model.adapter import peft_config
from finetune_trainer.model.inside import is_inside
from finetune_trainer.model.load import Loaded, shape_of
from finetune_trainer.model.pooling import read_last_tokens
from finetune_trainer.model.quantized import bytes_a_weight, quantized_weights


def trainable(loaded: Loaded, spec: FineTuneJobSpec) -> Any:
    """The model with only the method's weights trainable; UserError when the method does not fit
    the model. The base itself is changed: frozen, or wrapped."""
    from peft import get_peft_model
    from transformers import set_seed
    from transformers.modeling_layers import GenericForSequenceClassification

    method = spec.method
    if spec.training.gradient_checkpointing and not loaded.model.supports_gradient_checkpointing:
        raise UserError(
            f"training.gradientCheckpointing: {type(loaded.model).__name__} cannot compute its "
            "layers again",
            "leave it out",
        )
    if method.makes_adapter:
        set_seed(spec.training.seed)
        try:
            config = peft_config(loaded, spec)
            if loaded.model.device.type == "meta" and spec.method.lora is not None:
                config.init_lora_weights = True  # PiSSA's start is computed from weights
            address = config.base_model_name_or_path
            model = get_peft_model(loaded.model, config)
        except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
            raise UserError(
                f"method.{method.kind} does not fit this model: {error}"[:600],
                "correct method.peft.config"
                if method.peft is not None
                else "use method lora, which fits every model",
            ) from error
        # PEFT overwrites the base's address with the local folder it was loaded from.
        model.peft_config["default"].base_model_name_or_path = address
        if isinstance(loaded.model, GenericForSequenceClassification):
            read_last_tokens(loaded.model)
        return model
    if method.freeze is not None:
        _thaw(loaded, method.freeze.trainable)
    if method.head_only is not None:
        if not loaded.fresh:
            raise UserError(
                "method.headOnly: the output layer belongs to the base model", "use lora or freeze"
            )
        _thaw(loaded, [])
    return loaded.model


def to_train(loaded: Loaded, spec: FineTuneJobSpec) -> tuple[Any, ModelShape]:
    """The model as it is trained and what the memory estimate depends on. ``loaded`` is on torch's
    meta device, and is of no other use afterwards."""
    base = shape_of(loaded.model)
    each = bytes_a_weight(spec.method)
    quantized = quantized_weights(loaded.model) if each is not None else 0
    with torch.device("meta"):
        model = trainable(loaded, spec)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    frozen = 0 if spec.method.makes_adapter else base.parameters - trained
    return model, replace(
        base, trainable=trained, saved_frozen=frozen,
        quantized=quantized, quantized_bytes=each or 0.0,
    )  # fmt: skip


def _thaw(loaded: Loaded, patterns: list[str]) -> None:
    """Freeze all weights but those of fresh modules and those that a pattern names."""
    weights = dict(loaded.model.named_parameters())
    chosen = {name for name in weights if is_inside(name, loaded.fresh)}
    for pattern in patterns:
        matching = {
            name for name in weights if any(fnmatchcase(p, pattern) for p in _parents(name))
        }
        if not matching:
            seen = list(dict.fromkeys(_layer(name) for name in weights))
            raise UserError(
                f"method.freeze.trainable: {pattern!r} matches no layer",
                f"from first to last they are {', '.join([*seen[:3], '…', *seen[-3:]])}",
            )
        chosen |= matching
    for name, weight in weights.items():
        weight.requires_grad_(name in chosen)


def _layer(name: str) -> str:
    """The numbered layer that a weight is part of, else its module."""
    layers = [parent for parent in _parents(name) if parent.rpartition(".")[2].isdigit()]
    return layers[-1] if layers else name.rpartition(".")[0]


def _parents(name: str) -> list[str]:
    """The weight's own name and those of all modules around it."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
