"""The best weights so far by validation loss: when training stops, and what it goes back to.

The weights lie in a folder of each pod's disk. A checkpoint carries them when they are of an
earlier step than its own, so that a resumed run goes back to them wherever it runs.
"""

import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from finetune_api.training import EarlyStopping
from finetune_trainer import zero
from finetune_trainer.session import Session

FOLDER, STATE, WEIGHTS = "best", "best.json", "weights.safetensors"


@dataclass
class Best:
    """What the validations so far have shown."""

    step: int = 0
    """Step of the lowest loss; 0 before any."""
    loss: float = math.inf
    waited: int = 0
    """Validations since then."""
    last: int = 0
    """Step of the last validation."""

    def observe(self, step: int, loss: float, min_improvement: float) -> bool:
        """Is this the best so far? A loss that is no number never is."""
        self.last = step
        if loss < self.loss - (min_improvement if self.step else 0.0):
            self.step, self.loss, self.waited = step, loss, 0
            return True
        self.waited += 1
        return False

    def exhausted(self, patience: int) -> bool:
        """Has training waited long enough for a better loss? Never with patience 0."""
        return 0 < patience <= self.waited


class BestWeights:
    """Keeps ``model``'s trained weights and buffers at the best step, and puts them back."""

    def __init__(self, session: Session, model: Any) -> None:
        self.session, self.model = session, model
        self.rules: EarlyStopping = session.job.spec.training.early_stopping
        self.folder = session.places.checkpoints / f".{FOLDER}"
        self.best = Best()

    @property
    def stops(self) -> bool:
        """Is it time to stop?"""
        return self.best.exhausted(self.rules.patience)

    def start(self, resume: Path | None) -> None:
        """Begin anew, or with what the checkpoint knows. The weights are still the base's."""
        if self.session.gang.is_local_main:
            shutil.rmtree(self.folder, ignore_errors=True)
            carried = resume / FOLDER if resume is not None else None
            if carried is not None and carried.is_dir():
                shutil.copytree(carried, self.folder)
        self.session.gang.barrier()
        state = self.folder / STATE
        if state.is_file():
            self.best = Best(**json.loads(state.read_text()))

    def loaded(self, step: int) -> None:
        """The checkpoint of ``step`` is loaded: a best step of its own is not carried twice."""
        if self.best.step and self.best.step == step and self.rules.restore_best:
            self._keep()

    def observe(self, step: int, loss: float) -> None:
        """A validation's loss, the same on all ranks."""
        if self.best.observe(step, loss, self.rules.min_improvement) and self.rules.restore_best:
            self._keep()

    def put_into(self, checkpoint: Path, step: int) -> None:
        """Have rank 0's part of a checkpoint carry them."""
        if not self.session.gang.is_main:
            return
        folder = checkpoint / FOLDER
        folder.mkdir()
        (folder / STATE).write_text(json.dumps(asdict(self.best)))
        if self.best.step != step and (self.folder / WEIGHTS).is_file():
            os.link(self.folder / WEIGHTS, folder / WEIGHTS)

    def restore(self) -> bool:
        """Go back to the best step's weights, on all ranks; False where they are the last."""
        best = self.best
        if not (self.rules.restore_best and best.step and best.step < best.last):
            return False
        is_split = zero.splits(self.session)
        has_file = self.session.gang.is_main or not is_split
        kept = load_file(self.folder / WEIGHTS) if has_file else {}
        with torch.no_grad():
            for name, tensor in self._tensors():
                with zero.whole(tensor, self.session, changes=True):
                    if name in kept:
                        tensor.copy_(kept[name])
        return True

    def _keep(self) -> None:
        """Each pod keeps the whole weights; split ones are put together on rank 0."""
        gang, is_split = self.session.gang, zero.splits(self.session)
        keeps = gang.is_main if is_split else gang.is_local_main
        kept: dict[str, torch.Tensor] = {}
        for name, tensor in self._tensors():
            with zero.whole(tensor, self.session):
                if keeps:
                    kept[name] = tensor.detach().cpu().clone()
        if keeps:
            self.folder.mkdir(exist_ok=True)
            unfinished = self.folder / f".{WEIGHTS}"
            save_file(kept, unfinished)
            unfinished.rename(self.folder / WEIGHTS)

    def _tensors(self) -> list[tuple[str, torch.Tensor]]:
        saved = self.model.state_dict(keep_vars=True).keys()
        buffers = [(name, b) for name, b in self.model.named_buffers() if name in saved]
        weights = [(name, w) for name, w in self.model.named_parameters() if w.requires_grad]
        return weights + buffers
