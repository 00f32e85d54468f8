"""The PEFT configuration of a job's method, checked against PEFT's own classes.

Freshly initialised modules and the head have nothing to adapt: they are trained in full and saved
with the adapter.
"""

from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from finetune_api import defaults
from finetune_api.errors import UserError
from finetune_api.job import FineTuneJobSpec
from finetune_api.method import LoraLayers, LoraVariant, Method, PeftMethod
from finetune_trainer.model.inside import is_inside
from finetune_trainer.model.load import Loaded
from finetune_trainer.storage.hub import loadable

ADAPTABLE = (nn.Linear, Conv1D)
CONVOLUTIONS = (nn.Conv2d,)
"""What gets an adapter in a model without other layers of its own."""
UNFIT = {
    "ADALORA": "its ranks would have to be shared out anew at each step",
    "BOFT": "it compiles a CUDA extension when it is imported",
    "MULTITASK_PROMPT_TUNING": "it learns several tasks at once",
    "POLY": "it learns several tasks at once",
    "XLORA": "it mixes adapters that are trained already",
}
"""Methods of PEFT that a job cannot use, and why."""
OURS = {
    "LORA": "method.lora", "PROMPT_TUNING": "method.promptTuning", "IA3": "method.ia3",
    "PREFIX_TUNING": "method.prefixTuning", "P_TUNING": "method.pTuning",
}  # fmt: skip
"""Methods of PEFT that have a field of their own."""


def peft_config(loaded: Loaded, spec: FineTuneJobSpec) -> Any:
    """PEFT's configuration; UserError when it cannot be made for this model."""
    method = spec.method
    config = MAKERS[method.kind](loaded, method)
    config.base_model_name_or_path, config.revision = loadable(spec.model.uri)
    return config


def _lora(loaded: Loaded, method: Method) -> Any:
    from peft import LoraConfig

    layers: LoraLayers | None = method.lora or method.qlora
    assert layers is not None
    variant = method.lora.variant if method.lora is not None else LoraVariant.LORA
    names = targets(loaded, layers.target_modules, f"method.{method.kind}")
    if variant is LoraVariant.PISSA and any(
        isinstance(loaded.model.get_submodule(name), CONVOLUTIONS) for name in names
    ):
        raise UserError(
            "method.lora.variant PiSSA starts from the main directions of linear layers, and "
            f"architecture {loaded.model.config.model_type!r} has convolutions",
            "use another variant",
        )
    return LoraConfig(
        r=layers.rank,
        lora_alpha=layers.alpha or defaults.lora_alpha(layers.rank),
        lora_dropout=layers.dropout,
        target_modules=names,
        use_rslora=variant is LoraVariant.RS_LORA,
        use_dora=variant is LoraVariant.DORA,
        init_lora_weights="pissa" if variant is LoraVariant.PISSA else True,
        **_kept(loaded),
    )


def _ia3(loaded: Loaded, method: Method) -> Any:
    """Factors of keys, values and feed-forward activations where PEFT knows the architecture."""
    from peft import IA3Config
    from peft.utils import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
    )
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS

    kind = loaded.model.config.model_type
    if kind not in TARGETS:
        raise UserError(
            f"method.ia3: it is not known which layers of architecture {kind!r} to scale",
            "use method lora",
        )
    return IA3Config(
        target_modules=TARGETS[kind], feedforward_modules=FEEDFORWARD[kind], **_kept(loaded)
    )


def _prompt_tuning(loaded: Loaded, method: Method) -> Any:
    from peft import PromptTuningConfig, PromptTuningInit

    return PromptTuningConfig(
        num_virtual_tokens=method.virtual_tokens, prompt_tuning_init=PromptTuningInit.RANDOM,
        **_kept(loaded),
    )  # fmt: skip


def _prefix_tuning(loaded: Loaded, method: Method) -> Any:
    from peft import PrefixTuningConfig

    return PrefixTuningConfig(num_virtual_tokens=method.virtual_tokens, **_kept(loaded))


def _p_tuning(loaded: Loaded, method: Method) -> Any:
    from peft import PromptEncoderConfig

    return PromptEncoderConfig(
        num_virtual_tokens=method.virtual_tokens,
        encoder_hidden_size=loaded.model.config.hidden_size, **_kept(loaded),
    )  # fmt: skip


def _any(loaded: Loaded, method: Method) -> Any:
    """Any other type, its fields checked against PEFT's class."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CLASSES

    asked: PeftMethod | None = method.peft
    assert asked is not None
    name, given = asked.type.upper(), dict(asked.config or {})
    known = {str(kind.value) for kind in CLASSES} - UNFIT.keys()
    if name in UNFIT or name in OURS:
        why = UNFIT.get(name) or f"it is {OURS[name]}"
        raise UserError(f"method.peft.type {asked.type}: {why}", "choose another method")
    if name not in known:
        close = get_close_matches(name, sorted(known), n=1)
        raise UserError(
            f"method.peft.type {asked.type!r} is no method of PEFT",
            f"did you mean {close[0]}?" if close else f"use one of {', '.join(sorted(known))}",
        )
    kind = next(cls for peft_type, cls in CLASSES.items() if peft_type.value == name)
    names = {field.name for field in fields(kind)} - {"peft_type", "task_type", *_kept(loaded)}
    unknown = sorted(set(given) - names)
    if unknown:
        closest = [get_close_matches(field, sorted(names), n=1) for field in unknown]
        meant = ", ".join(match[0] for match in closest if match)
        raise UserError(
            f"method.peft.config: {kind.__name__} has no field {', '.join(unknown)}",
            f"did you mean {meant}?" if meant else f"it has {', '.join(sorted(names))}",
        )
    if "target_modules" in names:
        wanted = given.get("target_modules")
        wanted = [wanted] if isinstance(wanted, str) else wanted
        given["target_modules"] = targets(loaded, wanted, "method.peft.config")
    try:
        return kind(**given, **_kept(loaded))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"method.peft.config: {error}"[:600], f"correct the fields of {kind.__name__}"
        ) from error


MAKERS: dict[str, Callable[[Loaded, Method], Any]] = {
    "lora": _lora, "qlora": _lora, "ia3": _ia3, "promptTuning": _prompt_tuning,
    "prefixTuning": _prefix_tuning, "pTuning": _p_tuning, "peft": _any,
}  # fmt: skip
"""By the field of the method."""


def _kept(loaded: Loaded) -> dict[str, Any]:
    """What all configurations have: the task, and modules trained in full."""
    from peft import TaskType

    known = loaded.peft_task in TaskType.__members__
    task = loaded.peft_task if known else None
    return {"task_type": task, "modules_to_save": list(loaded.fresh) or None}


def targets(loaded: Loaded, asked: list[str] | None, where: str) -> list[str]:
    """Full names of the layers that get an adapter; UserError when a name matches nothing.

    A language model's output layer never gets one: the loss reads its weights past the adapter.
    """
    linear = _layers(loaded, ADAPTABLE) or _layers(loaded, CONVOLUTIONS)
    if asked is None:
        return linear
    chosen: list[str] = []
    for one in asked:
        matching = [name for name in linear if name == one or name.endswith(f".{one}")]
        if not matching:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise UserError(
                f"{where}.targetModules: no linear layer is called {one!r}",
                f"use some of {', '.join(known[:12])}, or leave it out for all",
            )
        chosen += matching
    return list(dict.fromkeys(chosen))


def _layers(loaded: Loaded, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    """Names of the base's own layers of these kinds."""
    output = loaded.model.get_output_embeddings()
    return [
        name for name, module in loaded.model.named_modules()
        if isinstance(module, kinds)
        and module is not output
        and not is_inside(name, loaded.fresh)
    ]  # fmt: skip
