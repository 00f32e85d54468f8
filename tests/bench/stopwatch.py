"""Runs a training script and tells what each optimizer step took: ``python -m tests.bench.stopwatch
RESULT STEPS SCRIPT ARGUMENT…``. Ends the process after so many steps.

Works for whatever trains with transformers' Trainer, ours included: seconds by the clock and of
the processor, tokens that are no padding, and positions that were computed.
"""

import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import transformers.trainer
from transformers import Trainer, TrainerCallback

OURS = "finetune_trainer"


class Stopwatch(TrainerCallback):
    """Notes each step's end; counts in between."""

    result: Path
    steps: int
    useful = positions = 0
    told: list[dict[str, float]] = []  # noqa: RUF012  (one process, one run)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The first step starts."""
        self._note()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step ends; the last one that is wanted ends the process."""
        self._note()
        if state.global_step >= self.steps:
            self.result.write_text(json.dumps(self.told))
            os._exit(0)

    def _note(self) -> None:
        self.told.append(
            {
                "clock": time.monotonic(), "processor": time.process_time(),
                "useful": Stopwatch.useful, "positions": Stopwatch.positions,
            }
        )  # fmt: skip


def count_tokens() -> None:
    """Have every Trainer count the tokens of its micro-batches."""
    step = Trainer.training_step

    def counted(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        Stopwatch.positions += ids.numel()
        Stopwatch.useful += ids.numel() if mask is None else int(mask.sum())
        return step(self, model, inputs, *rest, **options)

    Trainer.training_step = counted


def main(result: str, steps: str, script: str, arguments: list[str]) -> None:
    """Run ``script`` under the watch."""
    Stopwatch.result, Stopwatch.steps = Path(result), int(steps)
    transformers.trainer.DEFAULT_CALLBACKS.append(Stopwatch)
    count_tokens()
    sys.argv = [script, *arguments]
    if script == OURS:
        runpy.run_module(script, run_name="__main__")
    else:
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
