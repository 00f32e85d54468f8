"""Cross-field rules of methods."""

from collections.abc import Iterable

from finetune_api.learning import WRITING, Objective, Task
from finetune_api.rule import Rule

METHODS = (
    "full", "freeze", "headOnly", "lora", "qlora", "ia3", "promptTuning", "prefixTuning",
    "pTuning", "peft",
)  # fmt: skip
VIRTUAL_METHODS = ("promptTuning", "prefixTuning", "pTuning")
"""Methods that put virtual tokens before each row."""
WHOLE_METHODS = ("qlora", *VIRTUAL_METHODS)
"""Methods that ZeRO-3 cannot train: quantised weights are not split as they are stored, and the
adapters of virtual tokens are made by a pass that all ranks would have to join when one saves."""
MERGING_METHODS = ("lora", "qlora", "ia3", "peft")


def any_of(names: Iterable[str], where: str) -> str:
    """The CEL that looks whether one of these fields is set."""
    return " || ".join(f"has({where}.{name})" for name in names)


RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec",
        cel=f"!(self.task in {[*map(str, WRITING)]}) || !has(self.method.headOnly) || "
        "(has(self.objective) && self.objective == 'Reward')",
        message="method.headOnly is not for tasks that write text, whose output layer belongs to "
        "the base: use freeze",
        holds=lambda spec: (
            spec.task not in WRITING
            or spec.method.head_only is None
            or spec.objective is Objective.REWARD
        ),
    ),
    Rule(
        scope="spec",
        cel="!(has(self.distribution.deepspeed) && self.distribution.deepspeed.zeroStage == 3) || "
        f"!({any_of(WHOLE_METHODS, 'self.method')})",
        message=f"deepspeed.zeroStage 3 cannot split the weights of {', '.join(WHOLE_METHODS)}: "
        "use stage 2",
        holds=lambda spec: (
            spec.distribution.deepspeed is None
            or spec.distribution.deepspeed.zero_stage != 3
            or spec.method.kind not in WHOLE_METHODS
        ),
    ),
    Rule(
        scope="spec.method",
        cel=f"[{', '.join(f'has(self.{name})' for name in METHODS)}].exists_one(given, given)",
        message=f"set exactly one of {', '.join(METHODS)}",
        holds=lambda method: len(method.to_wire()) == 1,
    ),
    Rule(
        scope="spec",
        cel=f"!has(self.output.artifacts) || {any_of(MERGING_METHODS, 'self.method')}",
        message=f"output.artifacts is for methods whose adapter can be merged: "
        f"{', '.join(MERGING_METHODS)}",
        holds=lambda spec: spec.output.artifacts is None or spec.method.kind in MERGING_METHODS,
    ),
    Rule(
        scope="spec",
        cel=f"self.task != 'QuestionAnswering' || !({any_of(VIRTUAL_METHODS, 'self.method')})",
        message=f"{', '.join(VIRTUAL_METHODS)} are not for QuestionAnswering: PEFT would not tell "
        "the model where the question ends",
        holds=lambda spec: (
            spec.task is not Task.QUESTION_ANSWERING or not spec.method.virtual_tokens
        ),
    ),
    Rule(
        scope="spec",
        cel="!has(self.method.prefixTuning) || !has(self.training.gradientCheckpointing) || "
        "!self.training.gradientCheckpointing",
        message="method.prefixTuning does not work with training.gradientCheckpointing: its keys "
        "and values are not computed again",
        holds=lambda spec: (
            spec.method.prefix_tuning is None or not spec.training.gradient_checkpointing
        ),
    ),
)
