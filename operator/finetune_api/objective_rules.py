"""Cross-field rules of single objectives of TextGeneration."""

from finetune_api.learning import Objective
from finetune_api.rule import Rule

REWARDS = ("exactMatch", "jsonSchema", "regex", "length")
_IS_GRPO = "has(self.objective) && self.objective == 'GRPO'"
_GIVEN = " || ".join(f"has(self.training.grpo.rewards.{name})" for name in REWARDS)

RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec",
        cel=f"({_IS_GRPO}) || !has(self.training.grpo)",
        message="training.grpo is for objective GRPO only: remove it",
        holds=lambda spec: spec.objective is Objective.GRPO or spec.training.grpo is None,
    ),
    Rule(
        scope="spec",
        cel=f"!({_IS_GRPO}) || has(self.training.grpo)",
        message="objective GRPO needs training.grpo with the rewards that it learns from",
        holds=lambda spec: spec.objective is not Objective.GRPO or spec.training.grpo is not None,
    ),
    Rule(
        scope="spec",
        cel=f"!has(self.training.grpo) || {_GIVEN}",
        message=f"training.grpo.rewards needs at least one of {', '.join(REWARDS)}",
        holds=lambda spec: (
            spec.training.grpo is None or len(spec.training.grpo.rewards.to_wire()) > 0
        ),
    ),
)
