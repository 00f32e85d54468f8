"""The method block of a FineTuneJob: which weights change, and how.

Field docstrings become the CRD's descriptions and docs/api.md.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, WithJsonSchema, model_validator

from finetune_api import rules
from finetune_api.base import Document
from finetune_api.shapes import Word

Names = Annotated[list[Word], Field(min_length=1, max_length=64)]
Tokens = Annotated[int, Field(ge=1, le=4096)]
FreeForm = Annotated[
    dict[str, Any],
    Field(max_length=64),
    WithJsonSchema(
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "maxProperties": 64}
    ),
]


class Full(Document):
    """Train every weight."""


class Freeze(Document):
    """Train some layers, and freeze the others."""

    trainable: Names
    """Layers to train, by name or pattern: `encoder.layer.11` or `*.layer.1[01].*`. A pattern is
    matched against the full names of modules and weights; a module brings all its weights. Freshly
    initialised modules, as a classifier's head, are always trained."""


class HeadOnly(Document):
    """Train the head on the base's frozen features."""


class LoraVariant(StrEnum):
    """How low-rank adapters are scaled and started."""

    LORA = "LoRA"
    RS_LORA = "RsLoRA"
    DORA = "DoRA"
    PISSA = "PiSSA"


class Quantization(StrEnum):
    """How the frozen base is stored."""

    NF4 = "NF4"
    INT8 = "Int8"


class LoraLayers(Document):
    """What low-rank adapters have in common."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the update matrices. More rank, more capacity and memory."""
    alpha: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Scale of the update: alpha / rank. Default: 2 × rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: Names | None = None
    """Names of the linear layers that get an adapter (`query`, `value`). Default: all linear
    layers except freshly initialised ones and the head, which are trained in full."""


class Lora(LoraLayers):
    """Train low-rank adapters beside frozen weights (Hu et al. 2021, arXiv:2106.09685)."""

    variant: LoraVariant = LoraVariant.LORA
    """`LoRA`; `RsLoRA`, scaled by alpha / √rank, for high ranks (arXiv:2312.03732); `DoRA`, which
    trains each row's length apart from its direction (arXiv:2402.09353) and takes about a quarter
    more time; `PiSSA`, started from the largest singular vectors (arXiv:2404.02948)."""


class QLora(LoraLayers):
    """Train low-rank adapters beside quantised frozen weights (Dettmers et al. 2023,
    arXiv:2305.14314)."""

    quantization: Quantization = Quantization.NF4
    """`NF4`, four bits and a bit of scales a weight, or `Int8`, which also rounds
    activations, batch by batch, so that the loss depends a little on how ranks share a batch. Head
    and freshly initialised modules are never quantised."""


class Ia3(Document):
    """Train a factor for each key, value and feed-forward activation (Liu et al. 2022,
    arXiv:2205.05638)."""


class PromptTuning(Document):
    """Train the embeddings of virtual tokens before every row (Lester et al. 2021,
    arXiv:2104.08691)."""

    tokens: Tokens = 20
    """Virtual tokens. They count against the model's longest input."""


class PTuning(Document):
    """Train a small network that makes the embeddings of virtual tokens (Liu et al. 2021,
    arXiv:2103.10385)."""

    tokens: Tokens = 20
    """Virtual tokens. They count against the model's longest input."""


class PrefixTuning(Document):
    """Train keys and values that every layer sees before the row's own (Li & Liang 2021,
    arXiv:2101.00190)."""

    tokens: Tokens = 20
    """Virtual tokens. They count against the model's longest input."""


class PeftMethod(Document):
    """Any other method of the PEFT library."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """PEFT's name of the method: `LOHA`, `LOKR`, `VERA`, `OFT`, `MISS` …"""
    config: FreeForm | None = None
    """Fields of PEFT's own configuration class, by PEFT's names: `{r: 8, alpha: 16}`. Unknown ones
    are told before the start. Without `target_modules` all linear layers get an adapter."""


class Method(Document):
    """How the weights change. Set exactly one."""

    full: Full | None = None
    """Train every weight: `full: {}`."""
    freeze: Freeze | None = None
    """Train some layers: `freeze: {trainable: ["encoder.layer.11"]}`."""
    head_only: HeadOnly | None = None
    """Train the head alone, on frozen features: `headOnly: {}`. Not for language models, whose
    output layer belongs to the base, but for reward models."""
    lora: Lora | None = None
    """Train low-rank adapters: `lora: {rank: 16}`."""
    qlora: QLora | None = None
    """Train low-rank adapters on a quantised base: `qlora: {rank: 16}`."""
    ia3: Ia3 | None = None
    """Train factors of activations: `ia3: {}`."""
    prompt_tuning: PromptTuning | None = None
    """Train virtual tokens: `promptTuning: {tokens: 20}`."""
    prefix_tuning: PrefixTuning | None = None
    """Train keys and values of every layer: `prefixTuning: {tokens: 20}`."""
    p_tuning: PTuning | None = None
    """Train a network that makes virtual tokens: `pTuning: {tokens: 20}`."""
    peft: PeftMethod | None = None
    """Any other method of the PEFT library: `peft: {type: LOHA, config: {r: 8}}`."""

    _rules = model_validator(mode="after")(rules.check("spec.method"))

    @property
    def kind(self) -> str:
        """Name of the method that is set, as in the API: `lora`, `headOnly`."""
        return next(iter(self.to_wire()))

    @property
    def makes_adapter(self) -> bool:
        """Is the result an adapter beside the base, not a model?"""
        return self.full is None and self.freeze is None and self.head_only is None

    @property
    def virtual_tokens(self) -> int:
        """Tokens that the method puts before every row."""
        prompts = (self.prompt_tuning, self.prefix_tuning, self.p_tuning)
        return sum(prompt.tokens for prompt in prompts if prompt is not None)
