"""The implementation of each task, imported when it is asked for: some bring heavy libraries."""

from importlib import import_module

from finetune_api.job import Task as TaskName
from finetune_trainer.tasks.task import Task

TASKS = {
    TaskName.TEXT_CLASSIFICATION: "text_classification",
    TaskName.TEXT_GENERATION: "text_generation",
}
"""The module of each task; its class has the task's name."""


def task_class(name: TaskName) -> type[Task]:
    """The class of a task."""
    module = import_module(f"finetune_trainer.tasks.{TASKS[name]}")
    found: type[Task] = getattr(module, name.value)
    return found
