"""The frozen base in four or eight bits a weight, by bitsandbytes (QLoRA).

Only linear layers of the base itself are quantised: heads, poolers and a language model's output
layer stay as they are.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from finetune_api.method import Method, Quantization
from finetune_trainer.model.inside import is_inside

BYTES = {Quantization.NF4: 0.53, Quantization.INT8: 1.02}
"""Bytes a weight with its scales: one byte for 64 weights of NF4, a float for a row of Int8."""
POOLER = "pooler"


@dataclass(frozen=True)
class Storage:
    """How a base is to be loaded."""

    quantization: Quantization
    autocast: bool
    device: torch.device

    def options(self, kind: Any, config: Any) -> dict[str, Any]:
        """Arguments of ``from_pretrained`` of the auto class ``kind``."""
        from transformers import BitsAndBytesConfig

        with torch.device("meta"):
            skipped = untouched(kind.from_config(config))
        computed = torch.bfloat16 if self.autocast else torch.float32
        four = self.quantization is Quantization.NF4
        asked = BitsAndBytesConfig(
            load_in_4bit=four, load_in_8bit=not four, bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=computed,
            llm_int8_skip_modules=skipped,
        )  # fmt: skip
        return {"quantization_config": asked, "device_map": {"": self.device}}


def keep_differentiable(model: Any) -> None:
    """On CPUs with AVX512-BF16 a pass in eval mode would repack the weights for a kernel that has
    no gradient, and training after it would learn nothing below the last layers."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def quantized_weights(model: Any) -> int:
    """How many weights of a model would be quantised."""
    skipped = untouched(model)
    return sum(
        module.weight.numel() for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and not is_inside(name, skipped)
    )  # fmt: skip


def bytes_a_weight(method: Method) -> float | None:
    """Bytes of a quantised weight; None when the method quantises nothing."""
    return BYTES[method.qlora.quantization] if method.qlora is not None else None


def untouched(model: Any) -> list[str]:
    """Names of modules that are never quantised: what stands beside the base, and of the base what
    loses too much. T5 has no base inside it: encoder and decoder are the model."""
    output, prefix = model.get_output_embeddings(), model.base_model_prefix
    children = [name for name, _ in model.named_children()]
    beside = [name for name in children if name != prefix] if prefix in children else []
    precise = {POOLER, *(model._keep_in_fp32_modules or ())}
    inside = [
        name for name, module in model.named_modules()
        if module is output or name.rpartition(".")[2] in precise
    ]  # fmt: skip
    return list(dict.fromkeys([*beside, *inside]))
