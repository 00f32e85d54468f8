"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290).

The chosen answer's likelihood must grow over the base's by more than the rejected one's.
"""

from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from finetune_trainer.evaluate import preferences
from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.evaluate.forward import REFERENCE
from finetune_trainer.evaluate.preferences import Likelihoods
from finetune_trainer.objectives.preference import Preference, likelihoods


class DPO(Preference):
    """The base's likelihoods of all rows are measured first; they stand beside the rows."""

    measured_parts = ("train", "validation", "test")

    def baseline(self) -> None:
        """Measure the base and give each row its likelihoods."""
        super().baseline()
        for name, rows in self.parts.items():
            column = self.base[name].tolist()
            self.parts[name] = replace(rows, dataset=rows.dataset.add_column(REFERENCE, column))

    def row_loss(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """-log σ(β × the chosen answer's gain over the rejected one's)."""
        gained = likelihoods(model, batch) - batch[REFERENCE].view(torch.float32)
        return -functional.logsigmoid(self.beta * (gained[:, 0] - gained[:, 2]))

    def compare(self, base: Likelihoods, tuned: Likelihoods) -> Comparison:
        """By the likelihoods of whole answers, and by their gain over the base's."""
        seed = self.session.job.spec.training.seed
        return preferences.compare(base, tuned, seed=seed, a_token=False, gains=True)
