"""Every objective's implementation, imported when it is needed."""

from importlib import import_module

from finetune_api.learning import Objective as ObjectiveName
from finetune_trainer.objectives.objective import Objective

MODULES = {
    ObjectiveName.DPO: ("dpo", "DPO"),
    ObjectiveName.GRPO: ("grpo", "GRPO"),
    ObjectiveName.KTO: ("kto", "KTO"),
    ObjectiveName.ORPO: ("orpo", "ORPO"),
    ObjectiveName.PRETRAIN: ("pretrain", "Pretrain"),
    ObjectiveName.SFT: ("sft", "Supervised"),
}
"""The module and its class."""


def objective_class(name: ObjectiveName | None) -> type[Objective]:
    """The implementation of an objective; none given is SFT."""
    module, kind = MODULES[name or ObjectiveName.SFT]
    found: type[Objective] = getattr(import_module(f"finetune_trainer.objectives.{module}"), kind)
    return found
