"""Plans in a run's folder: prepare's, and those that revise it. The newest is in force."""

from typing import Any

from finetune_trainer.config import plan_name
from finetune_trainer.storage.objects import ObjectStore
from finetune_trainer.storage.uris import join


def newest_plan(store: ObjectStore, output: str) -> tuple[int, dict[str, Any]]:
    """Number and content of the newest plan; 0 and nothing before the first."""
    number, newest = 0, dict[str, Any]()
    while (plan := store.read_json(join(output, plan_name(number + 1)))) is not None:
        number, newest = number + 1, plan
    return number, newest
