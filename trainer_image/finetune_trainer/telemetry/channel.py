"""What a rank tells its supervisor: one JSON line an event on an inherited pipe.

Without the pipe (a rank started by hand) every method does nothing, so the same code runs alone.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from finetune_api.exits import ExitClass
from finetune_api.progress import EvaluationResult, Stage
from finetune_trainer.config import ENV_EVENTS_FD


class Channel:
    """Writes events to a file descriptor; ``None`` swallows them."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self.step = 0
        """Last optimizer step that this rank told of."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The pipe that the supervisor left open."""
        text = environ.get(ENV_EVENTS_FD)
        return cls(int(text) if text else None)

    def _send(self, kind: str, **event: Any) -> None:
        if self._fd is None:
            return
        line = memoryview(json.dumps({"type": kind, **event}).encode() + b"\n")
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:
            # The supervisor is gone; its own death ends this rank, not the news of it.
            self._fd = None

    def stage(self, stage: Stage) -> None:
        """A stage begins."""
        self._send("stage", stage=str(stage))

    def heartbeat(self, step: int) -> None:
        """This rank moves; ``step`` = optimizer steps done."""
        self.step = step
        self._send("heartbeat", step=step)

    def metrics(
        self, step: int, total_steps: int, epoch: float, values: Mapping[str, float]
    ) -> None:
        """Numbers of an optimizer step (rank 0). NaN and infinity travel as text."""
        told = {k: v if math.isfinite(v) else str(v) for k, v in values.items()}
        self._send("metrics", step=step, totalSteps=total_steps, epoch=round(epoch, 4), values=told)

    def checkpoint(self, step: int, path: Path, seconds: float, size: int) -> None:
        """A complete local checkpoint of this pod (local rank 0). ``size`` in bytes."""
        self._send("checkpoint", step=step, path=str(path), seconds=round(seconds, 3), bytes=size)

    def best(self, step: int, loss: float) -> None:
        """Training ended with the weights of an earlier step, which validated best (rank 0)."""
        self._send("best", step=step, loss=loss)

    def artifact(self, name: str, path: Path) -> None:
        """A folder to upload: baseline, adapter or model (rank 0)."""
        self._send("artifact", name=name, path=str(path))

    def evaluation(self, results: Sequence[EvaluationResult]) -> None:
        """Base against tuned (rank 0)."""
        self._send("evaluation", results=[result.to_wire() for result in results])

    def forgetting(self, results: Sequence[EvaluationResult]) -> None:
        """Base against tuned on the general set (rank 0)."""
        self._send("forgetting", results=[result.to_wire() for result in results])

    def preempted(self, step: int) -> None:
        """This rank obeys a stop request after ``step``."""
        self._send("preempted", step=step)

    def failed(self, kind: ExitClass, message: str, remedy: str, step: int) -> None:
        """This rank cannot go on."""
        self._send("failed", **{"class": str(kind)}, message=message, remedy=remedy, step=step)

    def done(self) -> None:
        """Everything is finished; exit 0 follows."""
        self._send("done")
