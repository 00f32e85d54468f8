"""Cross-field rules, each once: CEL for the API server, a Python predicate, one message.

``crd.py`` attaches the CEL to the schema node of the scope; the models run the predicates through
``check``. Both must give the same verdict on every object that has the schema's defaults applied.
Transition rules compare an update with what was there before; only the API server can see both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_MAX = 40


@dataclass(frozen=True)
class Rule:
    """One rule. ``scope`` is the path of the schema node whose value is ``self``."""

    scope: str
    cel: str
    message: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class TransitionRule:
    """A rule about updates; ``holds(old, new)`` sees both specifications."""

    scope: str
    cel: str
    message: str
    holds: Callable[[Any, Any], bool]


def _output_outside_inputs(spec: Any) -> bool:
    dataset = spec.dataset
    held_out = [s.uri for s in (dataset.validation, dataset.test) if s is not None and s.uri]
    folders = [u for u in [spec.model.uri, dataset.train.uri, *held_out] if u.endswith("/")]
    return not any(spec.output.uri.startswith(folder) for folder in folders)


def _fraction(source: Any) -> float:
    return source.fraction or 0.0 if source is not None else 0.0


def _changes_only_while_suspended(field: str) -> TransitionRule:
    return TransitionRule(
        scope="spec",
        cel=f"self.{field} == oldSelf.{field} || oldSelf.suspend",
        message=f"{field} can change only while the job is suspended: set suspend to true first",
        holds=lambda old, new: getattr(old, field) == getattr(new, field) or old.suspend,
    )


def _immutable(field: str) -> TransitionRule:
    same = f"self.{field} == oldSelf.{field}"
    if field in OPTIONAL:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return TransitionRule(
        scope="spec",
        cel=same,
        message=f"{field} defines the run and cannot change: create a new job instead",
        holds=lambda old, new: getattr(old, field) == getattr(new, field),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        scope="",
        cel=f"self.metadata.name.size() <= {NAME_MAX}",
        message=f"metadata.name must have at most {NAME_MAX} characters: pod names derive from it",
        holds=lambda job: len(job.metadata.name) <= NAME_MAX,
    ),
    Rule(
        scope="",
        cel=f"self.metadata.name.matches('{NAME_PATTERN}')",
        message="metadata.name must start with a letter and hold only a-z, 0-9 and '-', "
        "and not end with '-': host names derive from it",
        holds=lambda job: re.fullmatch(NAME_PATTERN[1:-1], job.metadata.name) is not None,
    ),
    Rule(
        scope="spec",
        cel="!(self.model.uri.endsWith('/') && self.output.uri.startsWith(self.model.uri)) && "
        "!(self.dataset.train.uri.endsWith('/') && "
        "self.output.uri.startsWith(self.dataset.train.uri)) && "
        "!(has(self.dataset.validation) && has(self.dataset.validation.uri) && "
        "self.dataset.validation.uri.endsWith('/') && "
        "self.output.uri.startsWith(self.dataset.validation.uri)) && "
        "!(has(self.dataset.test) && has(self.dataset.test.uri) && "
        "self.dataset.test.uri.endsWith('/') && "
        "self.output.uri.startsWith(self.dataset.test.uri))",
        message="output.uri must not lie inside model.uri or a dataset uri: "
        "results would be read as input by the next run",
        holds=_output_outside_inputs,
    ),
    Rule(
        scope="spec",
        cel="self.task == 'TextGeneration' || !has(self.objective)",
        message="objective is for task TextGeneration only: remove it",
        holds=lambda spec: spec.task == "TextGeneration" or spec.objective is None,
    ),
    Rule(
        scope="spec",
        cel="self.task == 'TextGeneration' || !has(self.dataset.mask)",
        message="dataset.mask is for task TextGeneration only: remove it",
        holds=lambda spec: spec.task == "TextGeneration" or spec.dataset.mask is None,
    ),
    Rule(
        scope="spec",
        cel="self.task == 'TextGeneration' || !has(self.model.chatTemplate)",
        message="model.chatTemplate is for task TextGeneration only: remove it",
        holds=lambda spec: spec.task == "TextGeneration" or spec.model.chat_template is None,
    ),
    Rule(
        scope="spec",
        cel="self.dataset.layout == 'Auto' || "
        "(self.dataset.layout == 'Labels') == (self.task == 'TextClassification')",
        message="dataset.layout does not fit the task: TextClassification reads Labels, "
        "TextGeneration reads PromptCompletion or Messages",
        holds=lambda spec: (
            spec.dataset.layout == "Auto"
            or (spec.dataset.layout == "Labels") == (spec.task == "TextClassification")
        ),
    ),
    Rule(
        scope="spec.method",
        cel="[has(self.full), has(self.lora)].exists_one(given, given)",
        message="set exactly one of full, lora",
        holds=lambda method: (method.full is None) != (method.lora is None),
    ),
    Rule(
        scope="spec.dataset.heldOut",
        cel="has(self.uri) != has(self.fraction)",
        message="set exactly one of uri, fraction",
        holds=lambda source: (source.uri is None) != (source.fraction is None),
    ),
    Rule(
        scope="spec.dataset",
        cel="(has(self.validation) && has(self.validation.fraction) ? "
        "self.validation.fraction : 0.0) + "
        "(has(self.test) && has(self.test.fraction) ? self.test.fraction : 0.0) < 1.0",
        message="validation.fraction and test.fraction must sum to less than 1: "
        "nothing would be left to train on",
        holds=lambda dataset: _fraction(dataset.validation) + _fraction(dataset.test) < 1.0,
    ),
    Rule(
        scope="spec.training",
        cel="!(has(self.epochs) && has(self.maxSteps))",
        message="set at most one of epochs, maxSteps",
        holds=lambda training: training.epochs is None or training.max_steps is None,
    ),
    Rule(
        scope="spec.distribution",
        cel="!(self.strategy == 'DDP' && has(self.deepspeed))",
        message="deepspeed has no effect with strategy DDP: remove it or choose DeepSpeed",
        holds=lambda distribution: distribution.strategy != "DDP" or distribution.deepspeed is None,
    ),
)

IMMUTABLE = (
    "task", "objective", "model", "dataset", "method", "training", "distribution", "checkpointing",
    "output", "storage",
)  # fmt: skip
OPTIONAL = frozenset({"objective"})
"""Fields of them that an object may lack: all others are required or have a default."""
MUTABLE_WHILE_SUSPENDED = ("resources", "scheduling", "retries")

TRANSITION_RULES: tuple[TransitionRule, ...] = (
    *(_immutable(field) for field in IMMUTABLE),
    *(_changes_only_while_suspended(field) for field in MUTABLE_WHILE_SUSPENDED),
)


def check(scope: str) -> Callable[[Any], Any]:
    """A pydantic validator that runs the rules of ``scope`` and reports all broken ones."""

    def validator(self: Any) -> Any:
        broken = [r.message for r in RULES if r.scope == scope and not r.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    return validator
