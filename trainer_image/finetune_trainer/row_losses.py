"""Training by a loss of each row, whose mean over a global batch does not depend on its sharing."""

from typing import Any

import torch
from transformers import Trainer


class RowLossTrainer(Trainer):
    """Minimises the mean of ``row_loss(model, batch)`` [rows]. Rows of a step are equally many in
    every micro-batch and on every rank."""

    def __init__(self, *, row_loss: Any, **options: Any) -> None:
        # That it is given tells Trainer not to divide by the accumulation again.
        super().__init__(compute_loss_func=row_loss, **options)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """This micro-batch's share of the step's mean."""
        loss: torch.Tensor = self.compute_loss_func(model, inputs).mean()
        return loss / self.args.gradient_accumulation_steps
