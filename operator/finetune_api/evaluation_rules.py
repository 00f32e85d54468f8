"""Cross-field rules of the evaluation block."""

from finetune_api.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec",
        cel="!has(self.evaluation.forgetting) || !(self.evaluation.forgetting.uri.endsWith('/') && "
        "self.output.uri.startsWith(self.evaluation.forgetting.uri))",
        message="evaluation.forgetting.uri must not hold output.uri: results would be read as "
        "input by the next run",
        holds=lambda spec: (
            spec.evaluation.forgetting is None
            or not spec.evaluation.forgetting.uri.endswith("/")
            or not spec.output.uri.startswith(spec.evaluation.forgetting.uri)
        ),
    ),
)
