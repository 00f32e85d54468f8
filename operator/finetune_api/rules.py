"""Cross-field rules, each once: CEL for the API server, a Python predicate, one message.

``crd.py`` attaches the CEL to the schema node of the scope; the models run the predicates through
``check``. Both must give the same verdict on every object that has the schema's defaults applied.
Transition rules compare an update with what was there before; only the API server can see both.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from finetune_api import (
    augmentation_rules,
    checkpointing_rules,
    evaluation_rules,
    method_rules,
    objective_rules,
)
from finetune_api.learning import (
    LAYOUTS,
    METRICS,
    LabelKind,
    Layout,
    Objective,
    Task,
    learnt,
)  # fmt: skip
from finetune_api.media_rules import MEDIA_RULES
from finetune_api.method_rules import VIRTUAL_METHODS, any_of
from finetune_api.patterns import LABEL_KEY, LABEL_KEY_MAX, NAME_MAX, NAME_PATTERN, cel_matches
from finetune_api.rule import Rule, TransitionRule


def _output_outside_inputs(spec: Any) -> bool:
    dataset = spec.dataset
    held_out = [s.uri for s in (dataset.validation, dataset.test) if s is not None and s.uri]
    folders = [u for u in [spec.model.uri, dataset.train.uri, *held_out] if u.endswith("/")]
    return not any(spec.output.uri.startswith(folder) for folder in folders)


def _fraction(source: Any) -> float:
    return source.fraction or 0.0 if source is not None else 0.0


def _are_label_keys(keys: Iterable[str]) -> bool:
    return all(len(key) <= LABEL_KEY_MAX and re.fullmatch(LABEL_KEY[1:-1], key) for key in keys)


def _tolerates(toleration: Any) -> bool:
    if toleration.operator == "Exists":
        return not toleration.value
    return toleration.key is not None


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


WHOLE_OPTIMIZERS = ("Adafactor", "Adagrad")
"""Optimizers that need whole weights: one looks at matrices, and ZeRO makes the other anew with a
group too few."""


def _of(table: dict[Any, tuple[Any, ...]]) -> str:
    """The CEL of a job's entry in a table by what is learnt."""
    literal = {str(what): [*map(str, entries)] for what, entries in table.items()}
    objective = "(has(self.objective) ? self.objective : 'SFT')"
    return f"{literal}[self.task == 'TextGeneration' ? {objective} : self.task]"


PREFERENCES = (Objective.DPO, Objective.ORPO, Objective.KTO)
"""Objectives that weigh with ``training.beta``."""
_SUPERVISED = "self.task == 'TextGeneration' && (!has(self.objective) || self.objective == 'SFT')"

RULES: tuple[Rule, ...] = (
    Rule(
        scope="",
        cel=f"self.metadata.name.size() <= {NAME_MAX}",
        message=f"metadata.name must have at most {NAME_MAX} characters: pod names derive from it",
        holds=lambda metadata: len(metadata.name) <= NAME_MAX,
    ),
    Rule(
        scope="",
        cel=f"self.metadata.name.matches('{NAME_PATTERN}')",
        message="metadata.name must start with a letter and hold only a-z, 0-9 and '-', "
        "and not end with '-': host names derive from it",
        holds=lambda metadata: re.fullmatch(NAME_PATTERN[1:-1], metadata.name) is not None,
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
        cel=f"({_SUPERVISED}) || !has(self.dataset.mask)",
        message="dataset.mask is for objective SFT of TextGeneration only: remove it",
        holds=lambda spec: (
            learnt(spec.task, spec.objective) is Objective.SFT or spec.dataset.mask is None
        ),
    ),
    Rule(
        scope="spec",
        cel="!has(self.dataset.overlength) || self.dataset.overlength != 'Split' || "
        "self.task == 'QuestionAnswering' || "
        "(has(self.objective) && self.objective == 'Pretrain')",
        message="dataset.overlength Split is for objective Pretrain and task QuestionAnswering "
        "only: an answer cannot be learnt without its beginning",
        holds=lambda spec: (
            spec.dataset.overlength != "Split"
            or spec.task is Task.QUESTION_ANSWERING
            or spec.objective is Objective.PRETRAIN
        ),
    ),
    Rule(
        scope="spec",
        cel="!has(self.training.beta) || (has(self.objective) && "
        f"self.objective in {[*map(str, PREFERENCES)]})",
        message=f"training.beta is for objectives {', '.join(PREFERENCES)} only: remove it",
        holds=lambda spec: spec.training.beta is None or spec.objective in PREFERENCES,
    ),
    Rule(
        scope="spec",
        cel="self.task == 'TextClassification' || self.dataset.labels == 'Auto'",
        message="dataset.labels is for task TextClassification only: remove it",
        holds=lambda spec: (
            spec.task == "TextClassification" or spec.dataset.labels is LabelKind.AUTO
        ),
    ),
    Rule(
        scope="spec",
        cel="self.task == 'TextGeneration' || !has(self.model.chatTemplate)",
        message="model.chatTemplate is for task TextGeneration only: remove it",
        holds=lambda spec: spec.task == "TextGeneration" or spec.model.chat_template is None,
    ),
    Rule(
        scope="spec",
        cel=f"self.dataset.layout == 'Auto' || self.dataset.layout in {_of(LAYOUTS)}",
        message="dataset.layout does not fit: "
        + ", ".join(f"{what} reads {' or '.join(layouts)}" for what, layouts in LAYOUTS.items()),
        holds=lambda spec: (
            spec.dataset.layout is Layout.AUTO
            or spec.dataset.layout in LAYOUTS[learnt(spec.task, spec.objective)]
        ),
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
        scope="spec",
        cel=f"!has(self.evaluation.gate) || self.evaluation.gate.metric in {_of(METRICS)}",
        message="evaluation.gate.metric is not known: "
        + ", ".join(f"{what} has {' and '.join(names)}" for what, names in METRICS.items()),
        holds=lambda spec: (
            spec.evaluation.gate is None
            or spec.evaluation.gate.metric in METRICS[learnt(spec.task, spec.objective)]
        ),
    ),
    Rule(
        scope="spec",
        cel="self.training.precision != 'BF16' || self.resources.gpusPerNode > 0",
        message="training.precision BF16 needs GPUs: set resources.gpusPerNode, or leave it out",
        holds=lambda spec: spec.training.precision != "BF16" or spec.resources.gpus_per_node > 0,
    ),
    Rule(
        scope="spec",
        cel="self.training.l2sp == 0.0 || has(self.method.full) || has(self.method.freeze)",
        message="training.l2sp is for methods full and freeze: the weights of an adapter have no "
        "base that they could stay close to",
        holds=lambda spec: (
            spec.training.l2sp == 0
            or (not spec.method.makes_adapter and spec.method.head_only is None)
        ),
    ),
    Rule(
        scope="spec",
        cel="!(has(self.distribution.deepspeed) && self.distribution.deepspeed.zeroStage == 3) || "
        "self.training.l2sp == 0.0",
        message="training.l2sp needs whole weights: set distribution.deepspeed.zeroStage to 2",
        holds=lambda spec: (
            spec.distribution.deepspeed is None
            or spec.distribution.deepspeed.zero_stage != 3
            or spec.training.l2sp == 0
        ),
    ),
    Rule(
        scope="spec",
        cel=f"!(self.training.optimizer in {[*WHOLE_OPTIMIZERS]}) || "
        "(self.distribution.strategy != 'DeepSpeed' && !has(self.distribution.deepspeed))",
        message=f"training.optimizer {' and '.join(WHOLE_OPTIMIZERS)} do not work on DeepSpeed's "
        "shards: leave out distribution or choose DDP",
        holds=lambda spec: (
            spec.training.optimizer not in WHOLE_OPTIMIZERS
            or (spec.distribution.strategy != "DeepSpeed" and spec.distribution.deepspeed is None)
        ),
    ),
    Rule(
        scope="spec",
        cel="self.task != 'TextGeneration' || self.training.labelSmoothing == 0.0",
        message="training.labelSmoothing is not for TextGeneration: remove it",
        holds=lambda spec: (
            spec.task is not Task.TEXT_GENERATION or spec.training.label_smoothing == 0
        ),
    ),
    Rule(
        scope="spec",
        cel="!(self.task in ['Summarization', 'Translation']) || self.training.neftuneAlpha == 0.0",
        message="training.neftuneAlpha is not for Summarization and Translation, whose "
        "models embed twice: remove it",
        holds=lambda spec: (
            spec.task not in (Task.SUMMARIZATION, Task.TRANSLATION)
            or spec.training.neftune_alpha == 0
        ),
    ),
    Rule(
        scope="spec",
        cel=f"!self.training.packing || ((({_SUPERVISED}) || (has(self.objective) && "
        "self.objective == 'Pretrain')) && !("
        f"{any_of(VIRTUAL_METHODS, 'self.method')}))",
        message="training.packing is for objectives SFT and Pretrain and methods other than "
        f"{', '.join(VIRTUAL_METHODS)}: remove it",
        holds=lambda spec: (
            not spec.training.packing
            or (
                learnt(spec.task, spec.objective) in (Objective.SFT, Objective.PRETRAIN)
                and spec.method.kind not in VIRTUAL_METHODS
            )
        ),
    ),
    Rule(
        scope="spec.distribution",
        cel="!(self.strategy == 'DDP' && has(self.deepspeed))",
        message="deepspeed has no effect with strategy DDP: remove it or choose DeepSpeed",
        holds=lambda distribution: distribution.strategy != "DDP" or distribution.deepspeed is None,
    ),
    Rule(
        scope="spec.scheduling",
        cel="!has(self.nodeSelector) || self.nodeSelector.all(key, "
        f"key.size() <= {LABEL_KEY_MAX} && {cel_matches('key', LABEL_KEY)})",
        message="nodeSelector must hold names of labels: letters, digits, '-', '_' and '.', "
        "after an optional domain and '/'",
        holds=lambda scheduling: _are_label_keys(scheduling.node_selector or ()),
    ),
    Rule(
        scope="spec.scheduling",
        cel="!has(self.tolerations) || self.tolerations.all(one, one.operator == 'Exists' "
        "? !has(one.value) || one.value == '' : has(one.key))",
        message="a toleration needs a key unless its operator is Exists, and no value if it is",
        holds=lambda scheduling: all(_tolerates(one) for one in scheduling.tolerations or ()),
    ),
    *method_rules.RULES,
    *augmentation_rules.RULES,
    *evaluation_rules.RULES,
    *objective_rules.RULES,
    *checkpointing_rules.RULES,
    *MEDIA_RULES,
)

IMMUTABLE = (
    "task", "objective", "model", "dataset", "method", "training", "distribution", "checkpointing",
    "evaluation", "output", "storage",
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
