"""The plan and the job as transformers' TrainingArguments, by name."""

from typing import Any

from finetune_api.training import Optimizer, Scheduler
from finetune_trainer import checkpoint, zero
from finetune_trainer.session import Session

OPTIMIZERS = {
    Optimizer.ADAMW_8BIT: "adamw_bnb_8bit",
    Optimizer.ADEMAMIX: "ademamix",
    Optimizer.ADAFACTOR: "adafactor",
    Optimizer.ADAGRAD: "adagrad",
    Optimizer.LION: "lion_32bit",
    Optimizer.RMSPROP: "rmsprop",
    Optimizer.SGD: "sgd",
}
FLOOR = 0.1
"""Share of the peak learning rate that a schedule with a floor ends at."""
LAST_TENTH = 0.1


def arguments(session: Session, model: Any) -> dict[str, Any]:
    """TrainingArguments of a run, but for ``max_steps``."""
    plan, training = session.plan, session.job.spec.training
    cpu = session.gang.device.type == "cpu"
    schedule, shape = SCHEDULES[training.scheduler]
    adamw = "adamw_torch" if cpu else "adamw_torch_fused"
    return {
        "output_dir": str(checkpoint.temporary(session.places.checkpoints)),
        "per_device_train_batch_size": plan.micro_batch,
        "gradient_accumulation_steps": plan.accumulation,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": schedule,
        "lr_scheduler_kwargs": shape(plan.steps),
        "warmup_steps": round(training.warmup_ratio * plan.steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "optim": OPTIMIZERS.get(training.optimizer, adamw),
        "neftune_noise_alpha": training.neftune_alpha or None,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "seed": training.seed,
        "use_cpu": cpu,
        "bf16": session.autocast,
        "ddp_backend": "gloo" if cpu else "nccl",
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,
        "deepspeed": zero.settings(session, model) if plan.with_deepspeed else None,
        "average_tokens_across_devices": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "save_only_model": False,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": not cpu,
        "log_level": "error",
    }


def _as_is(steps: int) -> dict[str, Any]:
    return {}


SCHEDULES: dict[Scheduler, tuple[str, Any]] = {
    Scheduler.COSINE: ("cosine", _as_is),
    Scheduler.COSINE_WITH_FLOOR: ("cosine_with_min_lr", lambda steps: {"min_lr_rate": FLOOR}),
    Scheduler.COSINE_WITH_RESTARTS: ("cosine_with_restarts", lambda steps: {"num_cycles": 2}),
    Scheduler.LINEAR: ("linear", _as_is),
    Scheduler.POLYNOMIAL: ("polynomial", lambda steps: {"power": 2.0}),
    Scheduler.INVERSE_SQRT: ("inverse_sqrt", _as_is),
    Scheduler.CONSTANT: ("constant_with_warmup", _as_is),
    Scheduler.WARMUP_STABLE_DECAY: (
        "warmup_stable_decay", lambda steps: {"num_decay_steps": max(1, round(LAST_TENTH * steps))}
    ),
}  # fmt: skip
"""transformers' name of a schedule, and its arguments for a number of steps."""
