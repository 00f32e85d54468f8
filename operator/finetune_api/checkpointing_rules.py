"""Cross-field rules of checkpoints."""

from typing import Any

from finetune_api.rule import Rule


def _apart(spec: Any) -> bool:
    source, output = spec.checkpointing.resume_from, spec.output.uri
    return source is None or not (source.startswith(output) or output.startswith(source))


RULES: tuple[Rule, ...] = (
    Rule(
        scope="spec.checkpointing",
        cel="!(has(self.everySteps) && has(self.everyMinutes))",
        message="set at most one of everySteps, everyMinutes",
        holds=lambda asked: asked.every_steps is None or asked.every_minutes is None,
    ),
    Rule(
        scope="spec",
        cel="!has(self.checkpointing.resumeFrom) || "
        "!(self.checkpointing.resumeFrom.startsWith(self.output.uri) || "
        "self.output.uri.startsWith(self.checkpointing.resumeFrom))",
        message="checkpointing.resumeFrom and output.uri must not lie inside each other: a run "
        "goes on from its own checkpoints by itself",
        holds=_apart,
    ),
)
