"""What happens at every optimizer step: agreement, checkpoints, validation, metrics, heartbeat."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune_api.errors import NonFiniteError
from finetune_api.progress import Plan
from finetune_trainer.best import BestWeights
from finetune_trainer.config import Places
from finetune_trainer.distributed import Gang
from finetune_trainer.peak import set_peak
from finetune_trainer.telemetry.channel import Channel


class Exhausted(Exception):  # noqa: N818  (an outcome, not an error)
    """A resumed run finds that training had ended where it was interrupted."""


class StepCallback(TrainerCallback):
    """Decides at each step, on all ranks alike, whether to save, validate or stop.

    One all-gather a step carries the stop flag, the save request, the tokens and the clock of
    each rank: a request that reaches any pod is obeyed by all at the same step.
    """

    def __init__(
        self,
        plan: Plan,
        train_rows: int,
        gang: Gang,
        places: Places,
        channel: Channel,
        validate: Callable[[], float],
        best: BestWeights,
    ) -> None:
        self.plan, self.train_rows, self.gang = plan, train_rows, gang
        self.places, self.channel, self.validate = places, channel, validate
        self.best = best
        self.tokens = 0
        self.stopped = False
        self._obeyed: set[int] = set()
        self.more: dict[str, float] = {}
        """What an objective tells of the step beside loss and norm."""
        self._values: dict[str, float] = {}
        self._clock = self._saved = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """The clock of the first step starts. A validation that a stop request cut off is made up
        for; Exhausted, on all ranks, when it shows that nothing is left to train."""
        step = state.global_step
        set_peak(parts["optimizer"], parts["lr_scheduler"], self.plan.learning_rate)
        self.best.loaded(step)
        self.channel.heartbeat(step)
        if step and self._is_due(step) and self.best.best.last < step:
            values = {"eval_loss": self._validated(step)}
            if self.gang.is_main:
                self.channel.metrics(step, self.plan.steps, self._epoch(step), values)
            if self.best.stops:
                raise Exhausted
        self._clock = self._saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """All ranks agree on what follows this step."""
        step = state.global_step
        seconds = time.monotonic() - self._clock
        stop = self.places.stop_request.exists()
        told = self.gang.gather_rows(
            [int(stop), self._save_request(), self.tokens, int(self._waited_long())]
        )
        tokens = sum(row[2] for row in told)
        self.tokens = 0
        self.stopped = any(row[0] for row in told)
        request = max(row[1] for row in told)
        self._values = {"step_seconds": seconds, "tokens_per_second": tokens / max(seconds, 1e-9)}
        due = self._is_due(step)
        if request:
            self._obeyed.add(request)
        by_time = any(row[3] for row in told)
        control.should_save = bool(due or request or by_time or self.stopped)
        self.channel.heartbeat(step)
        if due and not self.stopped:
            self._values["eval_loss"] = self._validated(step)
        ended = step >= self.plan.steps or self.best.stops
        control.should_training_stop = self.stopped or ended
        self._clock = time.monotonic()
        return control

    def _is_due(self, step: int) -> bool:
        """Is a checkpoint with a validation due after this step?"""
        return step % self.plan.checkpoint_every == 0 or step >= self.plan.steps

    def _validated(self, step: int) -> float:
        loss = self.validate()
        self.best.observe(step, loss)
        return loss

    def _epoch(self, step: int) -> float:
        return step * self.plan.global_batch / self.train_rows

    def _waited_long(self) -> bool:
        """Rank 0's clock: is a checkpoint due by time? Not while one is on its way to the bucket,
        which would only fall behind."""
        limit = self.plan.checkpoint_seconds
        if limit is None or not self.gang.is_main or time.monotonic() - self._saved < limit:
            return False
        return not any(self.places.uploading.glob("step-*"))

    def _save_request(self) -> int:
        """The pending request as a number, 0 when there is none or it was obeyed already."""
        try:
            text = self.places.save_request.read_bytes()
        except FileNotFoundError:
            return 0
        number = int.from_bytes(hashlib.sha256(text).digest()[:7], "big") | 1
        return 0 if number in self._obeyed else number

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Metrics of the step; NonFiniteError on all ranks when the loss is no number.

        Called before the checkpoint of the same step is written, so a broken state is never saved.
        """
        state.log_history.clear()
        if not logs or "loss" not in logs:
            return
        values = {name: float(logs[name]) for name in ("loss", "learning_rate", "grad_norm")}
        step = state.global_step
        if self.gang.is_main:
            self.channel.metrics(
                step, self.plan.steps, self._epoch(step), values | self._values | self.more
            )
        for name in ("loss", "grad_norm"):
            if not math.isfinite(values[name]):
                raise NonFiniteError(
                    f"{name} became {values[name]} at step {step}",
                    "set a smaller training.learningRate or training.maxGradNorm",
                )

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Saving is not part of the next step's time."""
        self.channel.heartbeat(state.global_step)
        self._clock = self._saved = time.monotonic()
