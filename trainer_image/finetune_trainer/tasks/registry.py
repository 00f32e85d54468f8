"""The implementation of each task."""

from finetune_api.job import Task
from finetune_trainer.tasks.text_classification import TextClassification

TASKS = {Task.TEXT_CLASSIFICATION: TextClassification}
