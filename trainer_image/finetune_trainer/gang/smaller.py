"""After a rank ran out of memory: the next smaller plan of the same global batch.

Loss and gradients depend on the global batch alone, so that a smaller micro-batch, or activations
that are computed again, change nothing but memory and time.
"""

from collections.abc import Mapping
from typing import Any

from finetune_api.exits import ExitClass
from finetune_trainer.gang.ledger import Ledger

SHRUNK = "shrunk"
"""In a plan: how many times it was made smaller."""


def shortages(ledger: Ledger) -> int:
    """How often memory has run out so far."""
    return sum(record.reason is ExitClass.OUT_OF_MEMORY for record in ledger.records.values())


def smaller(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """The next smaller plan: half the micro-batch, or the next less that divides a rank's rows; at
    one row, gradient checkpointing where the model can; None when nothing is left."""
    micro, accumulation = plan.get("microBatch", 1), plan.get("accumulation", 1)
    times = plan.get(SHRUNK, 0) + 1
    if micro > 1:
        rows = micro * accumulation
        fewer = next(size for size in range(micro // 2, 0, -1) if rows % size == 0)
        change = {"microBatch": fewer, "accumulation": rows // fewer}
        reason = f"microBatch {fewer}: memory ran out with {micro}"
    elif plan.get("checkpointable") and not plan.get("gradientCheckpointing"):
        change = {"gradientCheckpointing": True}
        reason = "gradientCheckpointing: memory ran out with one row"
    else:
        return None
    return {**plan, **change, "reasons": [*plan.get("reasons", [])[:15], reason], SHRUNK: times}


def shrunk(plan: Mapping[str, Any], times: int) -> dict[str, Any]:
    """A plan, as it is after so many shortages; the smallest when that is reached before."""
    made = dict(plan)
    while made.get(SHRUNK, 0) < times:
        less = smaller(made)
        if less is None:
            return {**made, SHRUNK: times}
        made = less
    return made
