"""After a loss that is no number: how often the run goes back, and the plan it goes on with."""

from collections.abc import Mapping
from typing import Any

from finetune_api.exits import ExitClass
from finetune_api.training import NonFinite
from finetune_trainer.gang.ledger import Ledger

MOST = 2
FACTOR = 0.5
"""Of the learning rate that failed."""
ROLLBACKS = "rollbacks"
"""In a plan: how many of them it takes into account."""


def rollbacks(ledger: Ledger) -> int:
    """How often a run has gone back so far."""
    return sum(record.reason is ExitClass.NON_FINITE for record in ledger.records.values())


def may_roll_back(asked: NonFinite, ledger: Ledger) -> bool:
    """May a run whose loss has just become no number go on?"""
    return asked is NonFinite.ROLLBACK and rollbacks(ledger) < MOST


def revised(plan: Mapping[str, Any], times: int) -> dict[str, Any]:
    """A plan, as it is after so many rollbacks."""
    rate = plan["learningRate"] * FACTOR ** (times - plan.get(ROLLBACKS, 0))
    reason = f"learning rate {rate:g}: the loss became no number {times} {_times(times)}"
    reasons = [*plan.get("reasons", [])[:15], reason]
    return {**plan, "learningRate": rate, "reasons": reasons, ROLLBACKS: times}


def _times(count: int) -> str:
    return "time" if count == 1 else "times"
