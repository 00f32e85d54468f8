"""Every task: what its rows may look like, and its implementation, imported when it is needed.

Rows are read and checked before any library of models is imported.
"""

from dataclasses import dataclass
from importlib import import_module

from finetune_api.dataset import Layout
from finetune_api.job import Task as TaskName
from finetune_trainer.tasks.task import Task


@dataclass(frozen=True)
class Entry:
    """A task: the layouts it understands (the first is expected when nothing tells), and the
    module whose class has the task's name."""

    layouts: tuple[Layout, ...]
    module: str


TASKS = {
    TaskName.TEXT_CLASSIFICATION: Entry((Layout.LABELS,), "text_classification"),
    TaskName.TEXT_GENERATION: Entry(
        (Layout.PROMPT_COMPLETION, Layout.MESSAGES), "text_generation"
    ),
}  # fmt: skip


def task_class(name: TaskName) -> type[Task]:
    """The implementation of a task."""
    module = import_module(f"finetune_trainer.tasks.{TASKS[name].module}")
    found: type[Task] = getattr(module, name.value)
    return found
