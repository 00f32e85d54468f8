"""Is the tuned model as much better than its base as the job asks?"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_api.errors import GateNotMetError, UserError
from finetune_api.learning import LOWER_IS_BETTER
from finetune_api.results import Gate
from finetune_trainer.session import Session


def refuse_what_is_no_better(session: Session) -> None:
    """GateNotMetError on every rank when the comparison that was written misses the gate."""
    gate, gang = session.job.spec.evaluation.gate, session.gang
    if gate is None:
        return
    written = session.places.report / "evaluation.json"
    results = json.loads(written.read_text())["results"] if gang.is_main else None
    check(gate, gang.from_main(results))


def check(gate: Gate, results: Sequence[Mapping[str, Any]]) -> None:
    """GateNotMetError when the gain is too small; UserError when the metric was not measured."""
    found = next((one for one in results if one["metric"] == gate.metric), None)
    if found is None:
        known = ", ".join(one["metric"] for one in results)
        raise UserError(
            f"evaluation.gate.metric {gate.metric} was not measured on these rows",
            f"use one of {known}",
        )
    base, tuned = float(found["base"]), float(found["tuned"])
    gain = base - tuned if gate.metric in LOWER_IS_BETTER else tuned - base
    if gain > 0 and gain >= gate.min_improvement:
        return
    wanted = f"{gate.min_improvement:g} or more" if gate.min_improvement else "any gain"
    raise GateNotMetError(
        f"{gate.metric} went from {base:.4f} to {tuned:.4f} on {found['rows']} rows, "
        f"and evaluation.gate asks for {wanted}",
        "train longer or on more rows, or lower evaluation.gate.minImprovement; the report is kept",
    )
