"""The base model as a classifier: loaded, with what is freshly initialised named."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finetune_api.errors import UserError
from finetune_api.estimate import ModelShape

DROPOUT_FIELDS = (
    "dropout", "hidden_dropout", "hidden_dropout_prob", "attention_dropout",
    "attention_probs_dropout_prob", "activation_dropout", "embedding_dropout", "mlp_dropout",
    "classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "resid_pdrop",
    "embd_pdrop", "attn_pdrop", "pooler_dropout", "cls_dropout",
)  # fmt: skip
"""Names of dropout probabilities in transformers' configurations."""


@dataclass(frozen=True)
class Classifier:
    """A model with its head: ``head`` is the last linear layer, ``fresh`` the topmost modules
    that the checkpoint has no weights for (the head's is always among them)."""

    model: Any
    head: str
    fresh: tuple[str, ...]


def configure(config: Any, labels: list[str], *, dropout: float | None, pad: int | None) -> Any:
    """Class names, padding and dropout written into a model's configuration."""
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    if pad is not None and config.pad_token_id is None:
        config.pad_token_id = pad
    if dropout is not None:
        for name in DROPOUT_FIELDS:
            if getattr(config, name, None) is not None or name == "classifier_dropout":
                setattr(config, name, dropout)
    return config


def load(folder: Path, config: Any, *, seed: int) -> Classifier:
    """The model from ``folder`` in float32; fresh weights drawn by ``seed``, equal on all ranks."""
    from transformers import AutoModelForSequenceClassification, set_seed

    set_seed(seed)
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True,
            ignore_mismatched_sizes=True, local_files_only=True, trust_remote_code=False,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the model's weights cannot be loaded: {error}"[:600], "copy the model folder again"
        ) from error
    mismatched = {entry[0] for entry in info.get("mismatched_keys") or ()}
    return describe(model, set(info["missing_keys"]) | mismatched)


def on_meta(config: Any) -> Classifier:
    """The model without weights, for counting; only its head counts as fresh."""
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    return describe(model, set())


def describe(model: Any, missing: set[str]) -> Classifier:
    """Find the head and the fresh modules. ``missing`` names weights absent from the checkpoint."""
    classes = model.config.num_labels
    heads = [
        name for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]  # fmt: skip
    if not heads:
        raise UserError(
            f"{type(model).__name__} has no linear head with {classes} outputs",
            "use another architecture",
        )
    head = heads[-1]
    weights = {name for name, _ in model.named_parameters()}
    missing = (missing & weights) | {name for name in weights if name.startswith(f"{head}.")}
    fresh = {_topmost(name.rpartition(".")[0], missing, weights) for name in missing}
    return Classifier(model, head, tuple(sorted(fresh)))


def _topmost(module: str, missing: set[str], weights: set[str]) -> str:
    """The largest module around ``module`` whose weights are all missing."""
    while "." in module:
        parent = module.rpartition(".")[0]
        if not {name for name in weights if name.startswith(f"{parent}.")} <= missing:
            break
        module = parent
    return module


def shape_of(model: Any, trainable: int) -> ModelShape:
    """What the memory estimate depends on, from the model and its configuration."""
    config = model.config
    hidden = _first(config, ("hidden_size", "dim", "d_model", "n_embd"), 768)
    return ModelShape(
        parameters=sum(weight.numel() for weight in model.parameters()),
        trainable=trainable,
        layers=_first(config, ("num_hidden_layers", "n_layers", "n_layer", "num_layers"), 12),
        hidden=hidden,
        intermediate=_first(
            config, ("intermediate_size", "hidden_dim", "d_ff", "n_inner", "ffn_dim"), 4 * hidden
        ),
        heads=_first(config, ("num_attention_heads", "n_heads", "n_head", "num_heads"), 12),
        largest=max(weight.numel() for weight in model.parameters()),
    )


def _first(config: Any, names: tuple[str, ...], default: int) -> int:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return default
