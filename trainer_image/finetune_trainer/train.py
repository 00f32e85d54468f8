"""Training: transformers' Trainer with our loss, order of rows, decay groups and checkpoints."""

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer

from finetune_api.errors import JobError
from finetune_trainer import checkpoint, reshard, zero
from finetune_trainer.arguments import arguments
from finetune_trainer.batches import GlobalBatches
from finetune_trainer.best import BestWeights
from finetune_trainer.distributed import Gang
from finetune_trainer.regularisation import NearBase, shrink_after_steps
from finetune_trainer.session import Session
from finetune_trainer.steps import Exhausted, StepCallback
from finetune_trainer.tasks.task import Task

log = logging.getLogger(__name__)


class FineTuneTrainer(Trainer):
    """Trainer with decay on matrices only and checkpoints that appear complete or not at all."""

    def __init__(
        self,
        *,
        session: Session,
        order: GlobalBatches,
        steps: StepCallback,
        near_base: NearBase | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.session, self.order, self.steps = session, order, steps
        if session.storage is not None:
            _in_float32(self.model)
        self.near_base = near_base
        self.remove_callback(PrinterCallback)
        self.add_callback(steps)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.order

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Matrices decay; biases and norms, which are vectors, do not."""
        return [name for name, weight in model.named_parameters() if len(zero.shape(weight)) >= 2]

    def create_optimizer(self, *args: Any, **options: Any) -> Any:
        """The optimizer, with the proximal step of L1 after its own."""
        is_new, l1 = self.optimizer is None, self.session.job.spec.training.l1
        optimizer = super().create_optimizer(*args, **options)
        if l1 and is_new:
            shrink_after_steps(optimizer, l1)
        return optimizer

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Count useful tokens beside the step itself; the loss told is the rows' alone."""
        self.steps.tokens += _useful_tokens(inputs, self.session.plan.max_length)
        loss = super().training_step(model, inputs, num_items_in_batch)
        return loss - self._penalty if self.near_base is not None else loss

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """The rows' loss and this micro-batch's share of L2-SP."""
        found = super().compute_loss(model, inputs, *args, **options)
        if self.near_base is None:
            return found
        penalty = self.near_base.penalty() / self.session.plan.accumulation
        self._penalty = penalty.detach()
        return (found[0] + penalty, found[1]) if isinstance(found, tuple) else found + penalty

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """DeepSpeed's own files hold the weights already; a second copy is not written."""
        if not self.is_deepspeed_enabled:
            super().save_model(output_dir, _internal_call)
        elif self.args.should_save and output_dir:
            Path(output_dir).mkdir(parents=True, exist_ok=True)

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """A whole model's weights under the names that they have here. Under those of older
        programs, which other files are written with, resuming would not find them, and not say
        so."""
        if not isinstance(self.model, PreTrainedModel):
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            folder = output_dir or self.args.output_dir
            self.model.save_pretrained(folder, state_dict=state_dict, save_original_format=False)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        session, step, start = self.session, self.state.global_step, time.monotonic()
        super()._save_checkpoint(model, trial)
        session.gang.barrier()
        if session.gang.is_local_main:
            written = Path(self.args.output_dir) / f"checkpoint-{step}"
            self.steps.best.put_into(written, step)
            final = checkpoint.publish(written, session.places.checkpoints, step)
            checkpoint.forget_old(session.places.checkpoints)
            session.channel.checkpoint(
                step, final, time.monotonic() - start, checkpoint.size(final)
            )


def train(session: Session, task: Task, model: Any, resume: Path | None) -> StepCallback:
    """Train ``model`` in place to the plan's last step, to where validation no longer improves, or
    to a stop request (``stopped``). Unless stopped, it ends with its best weights."""
    plan, gang, spec = session.plan, session.gang, session.job.spec
    rows = task.parts["train"]
    best = BestWeights(session, model)
    best.start(resume)
    steps = StepCallback(
        plan, len(rows), gang, session.places, session.channel, lambda: task.validate(model), best
    )
    last = best.best.last if best.stops else plan.steps
    order = GlobalBatches(
        rows.lengths, global_batch=plan.global_batch,
        steps=last, seed=spec.training.seed,
    )  # fmt: skip
    if gang.is_local_main:
        shutil.rmtree(checkpoint.temporary(session.places.checkpoints), ignore_errors=True)
    gang.barrier()
    strength = spec.training.l2sp
    near_base = NearBase(model, strength) if strength else None
    fitting = reshard.fitted(resume, session) if resume is not None else None
    zero.split(session, model)
    own = {"max_steps": last, "seed": spec.training.seed + (fitting != resume)}
    trainer = task.trainer(
        arguments(session, model) | own, session=session, order=order,
        steps=steps, model=model, near_base=near_base, train_dataset=rows.dataset,
        data_collator=rows.collate,
    )  # fmt: skip
    if fitting is not None and fitting == resume:
        _check_own_state(fitting, gang)
    with suppress(Exhausted):
        trainer.train(resume_from_checkpoint=str(fitting) if fitting else None)
    if not steps.stopped and best.restore() and gang.is_main:
        session.channel.best(best.best.step, best.best.loss)
    return steps


def _useful_tokens(inputs: Any, length: int) -> int:
    """Of media, which are no tokens: the positions of all rows, ``length`` of each."""
    if "input_ids" not in inputs:
        return len(inputs["labels"]) * length
    mask = inputs.get("attention_mask")
    return int(mask.sum()) if mask is not None else inputs["input_ids"].numel()


def _in_float32(model: torch.nn.Module) -> None:
    """What is trained beside a quantised base: TRL rounds it to bfloat16, which loses small
    steps."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _check_own_state(resume: Path, gang: Gang) -> None:
    """A missing random state would resume silently on another trajectory."""
    name = f"rng_state_{gang.rank}.pth" if gang.world > 1 else "rng_state.pth"
    for needed in ("trainer_state.json", name):
        if not (resume / needed).is_file():
            raise JobError(
                f"checkpoint {resume.name} lacks {needed}", "resume from the checkpoint before it"
            )
