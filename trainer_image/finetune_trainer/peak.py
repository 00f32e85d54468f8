"""The plan's learning rate, also where a checkpoint remembers another one."""

from typing import Any


def set_peak(optimizer: Any, scheduler: Any, peak: float) -> None:
    """Give optimizer and schedule this peak learning rate at the step they are at. The weights of
    the schedule, which are relative to its peak, stay as they are."""
    inner = getattr(scheduler, "scheduler", scheduler)
    if all(rate == peak for rate in inner.base_lrs):
        return
    inner.base_lrs = [peak] * len(inner.base_lrs)
    rates = [peak * shape(inner.last_epoch) for shape in inner.lr_lambdas]
    inner._last_lr = rates
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"], group["lr"] = peak, rate
