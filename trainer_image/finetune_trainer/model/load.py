"""The base model as its task needs it: loaded, with what is freshly initialised named."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finetune_api.errors import UserError
from finetune_api.estimate import ModelShape
from finetune_trainer.model.quantized import Storage, keep_differentiable
from finetune_trainer.model.whole_layers import whole_layers

DROPOUT_FIELDS = (
    "dropout", "dropout_rate", "hidden_dropout", "hidden_dropout_prob", "attention_dropout",
    "attention_probs_dropout_prob", "activation_dropout", "embedding_dropout", "mlp_dropout",
    "classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "resid_pdrop",
    "embd_pdrop", "attn_pdrop", "pooler_dropout", "cls_dropout", "final_dropout",
    "feat_proj_dropout",
)  # fmt: skip
"""Names of dropout probabilities in transformers' configurations."""
FORMS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "IMAGE_CLS": "AutoModelForImageClassification",
    "AUDIO_CLS": "AutoModelForAudioClassification",
    None: "AutoModelForQuestionAnswering",
}
"""Models with a head, by what PEFT calls their task, or would. Its name for questions is not used:
that wrapper keeps from the model which segment a token belongs to."""


@dataclass(frozen=True)
class Loaded:
    """A base model. ``fresh`` are the topmost modules that its checkpoint has no weights for;
    ``head`` is a classifier's last linear layer, always among them."""

    model: Any
    peft_task: str | None
    """What PEFT calls the task; where it has no name for it, one of ours."""
    head: str = ""
    fresh: tuple[str, ...] = ()
    has_own_head: bool = False
    """Did the checkpoint bring the head's weights?"""


def configure(config: Any, labels: list[str], *, dropout: float | None, pad: int | None) -> Any:
    """Class names, padding and dropout written into a model's configuration."""
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    if pad is not None and config.pad_token_id is None:
        config.pad_token_id = pad
    if dropout is not None:
        config.classifier_dropout = dropout
    return set_dropout(config, dropout)


def set_dropout(config: Any, dropout: float | None) -> Any:
    """All dropout probabilities that the configuration and its parts name; None leaves them."""
    if dropout is not None:
        for name in DROPOUT_FIELDS:
            if getattr(config, name, None) is not None:
                setattr(config, name, dropout)
        for part in config.sub_configs:
            if getattr(config, part, None) is not None:
                set_dropout(getattr(config, part), dropout)
    return config


def load_classifier(
    folder: Path,
    config: Any,
    *,
    seed: int,
    storage: Storage | None = None,
    peft_task: str | None = "SEQ_CLS",
) -> Loaded:
    """The model from ``folder`` in float32, or stored as ``storage`` says; fresh weights drawn by
    ``seed``, equal on all ranks."""
    from transformers import set_seed

    set_seed(seed)
    model, missing = _from_folder(
        _form(peft_task), folder, config, storage, ignore_mismatched_sizes=True
    )
    return describe(model, missing, peft_task)


def _form(peft_task: str | None) -> Any:
    """The class that finds an architecture's model with a head for the task."""
    import transformers

    return getattr(transformers, FORMS[peft_task])


def load_language_model(
    folder: Path, config: Any, *, pad: int, dropout: float | None, storage: Storage | None = None
) -> Loaded:
    """The causal language model from ``folder`` in float32; UserError when its checkpoint lacks
    weights: nothing of it may be random."""
    from transformers import AutoModelForCausalLM

    set_dropout(config, dropout)
    model = _whole(AutoModelForCausalLM, folder, config, storage, "a causal language model")
    model.config.pad_token_id = pad
    return Loaded(model, "CAUSAL_LM")


def load_sequence_to_sequence(
    folder: Path, config: Any, *, pad: int, dropout: float | None, storage: Storage | None = None
) -> Loaded:
    """The encoder-decoder model from ``folder`` in float32; UserError when its checkpoint lacks
    weights of either, or of the output layer."""
    from transformers import AutoModelForSeq2SeqLM

    set_dropout(config, dropout)
    model = _whole(AutoModelForSeq2SeqLM, folder, config, storage, "an encoder-decoder model")
    if model.config.pad_token_id is None:
        model.config.pad_token_id = pad
    return Loaded(model, "SEQ_2_SEQ_LM")


def load_writer_of_letters(
    folder: Path, config: Any, tokenizer: Any, *, seed: int, dropout: float | None,
    storage: Storage | None = None,
) -> Loaded:  # fmt: skip
    """The CTC model from ``folder`` in float32; a base that does not write yet gets a head with the
    tokenizer's letters, drawn by ``seed``. The head is always trained in full."""
    from transformers import AutoModelForCTC, set_seed

    set_dropout(whole_layers(config), dropout)
    if not any("CTC" in name for name in config.architectures or ()):
        config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    set_seed(seed)
    model, _ = _from_folder(AutoModelForCTC, folder, config, storage, ignore_mismatched_sizes=True)
    return _with_letters(model)


def load_dictation(
    folder: Path, config: Any, *, dropout: float | None, storage: Storage | None = None
) -> Loaded:
    """The model from ``folder``, in float32, whose decoder writes what is said; UserError when its
    checkpoint lacks weights."""
    from transformers import AutoModelForSpeechSeq2Seq

    set_dropout(whole_layers(config), dropout)
    what = "a model that writes what is said"
    model = _whole(AutoModelForSpeechSeq2Seq, folder, config, storage, what)
    return _with_fixed_positions(model)


def meta_dictation(config: Any) -> Loaded:
    """The same without weights, for counting."""
    from transformers import AutoModelForSpeechSeq2Seq

    with torch.device("meta"):
        model = AutoModelForSpeechSeq2Seq.from_config(whole_layers(config))
    return _with_fixed_positions(model)


def _with_fixed_positions(model: Any) -> Loaded:
    """Whisper's encoder counts in sinusoids, which are not learnt; loading forgets that."""
    model.get_encoder().embed_positions.requires_grad_(False)
    return Loaded(model, "DICTATION")


def meta_writer_of_letters(config: Any) -> Loaded:
    """The CTC model without weights, for counting."""
    from transformers import AutoModelForCTC

    with torch.device("meta"):
        return _with_letters(AutoModelForCTC.from_config(config))


def _with_letters(model: Any) -> Loaded:
    heads = [
        name for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.vocab_size
    ]  # fmt: skip
    if not heads:
        raise UserError(
            f"{type(model).__name__} has no linear head with {model.config.vocab_size} letters",
            "use another architecture",
        )
    return Loaded(model, "CTC", heads[-1], (heads[-1],))


def _whole(kind: Any, folder: Path, config: Any, storage: Storage | None, what: str) -> Any:
    """A model of which nothing is random; ``what`` names it. Buffers are computed, not learnt."""
    model, missing = _from_folder(kind, folder, config, storage)
    lacking = sorted(missing.intersection(name for name, _ in model.named_parameters()))
    if lacking:
        raise UserError(
            f"the model's checkpoint lacks {len(lacking)} weights of {what}, "
            f"{', '.join(lacking[:3])} among them",
            f"name {what} in model.uri",
        )
    return model


def _from_folder(
    kind: Any, folder: Path, config: Any, storage: Storage | None, **options: Any
) -> tuple[Any, set[str]]:
    """The model, and the names of weights that its checkpoint does not have."""
    if storage is not None:
        options |= storage.options(kind, config)
    try:
        model, info = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True,
            local_files_only=True, trust_remote_code=False, use_safetensors=True, **options,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the model's weights cannot be loaded: {error}"[:600], "copy the model folder again"
        ) from error
    if storage is not None:
        keep_differentiable(model)
    mismatched = {entry[0] for entry in info.get("mismatched_keys") or ()}
    return model, set(info["missing_keys"]) | mismatched


def meta_language_model(config: Any) -> Loaded:
    """The language model without weights, for counting."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return Loaded(AutoModelForCausalLM.from_config(config), "CAUSAL_LM")


def meta_sequence_to_sequence(config: Any) -> Loaded:
    """The encoder-decoder model without weights, for counting."""
    from transformers import AutoModelForSeq2SeqLM

    with torch.device("meta"):
        return Loaded(AutoModelForSeq2SeqLM.from_config(config), "SEQ_2_SEQ_LM")


def meta_classifier(config: Any, peft_task: str | None = "SEQ_CLS") -> Loaded:
    """The classifier without weights, for counting; only its head counts as fresh."""
    with torch.device("meta"):
        model = _form(peft_task).from_config(config)
    return describe(model, set(), peft_task)


def describe(model: Any, missing: set[str], peft_task: str | None = "SEQ_CLS") -> Loaded:
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
    of_head = {name for name in weights if name.startswith(f"{head}.")}
    has_own_head = not of_head & missing
    missing = (missing & weights) | of_head
    fresh = {_topmost(name.rpartition(".")[0], missing, weights) for name in missing}
    return Loaded(model, peft_task, head, tuple(sorted(fresh)), has_own_head)


def _topmost(module: str, missing: set[str], weights: set[str]) -> str:
    """The largest module around ``module`` whose weights are all missing."""
    while "." in module:
        parent = module.rpartition(".")[0]
        if not {name for name in weights if name.startswith(f"{parent}.")} <= missing:
            break
        module = parent
    return module


def shape_of(model: Any) -> ModelShape:
    """What the memory estimate depends on, of a base model."""
    sizes = [weight.numel() for weight in model.parameters()]
    return ModelShape(parameters=sum(sizes), trainable=0, largest=max(sizes))
