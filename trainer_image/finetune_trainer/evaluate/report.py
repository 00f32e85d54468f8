"""The comparison as it is told and kept in the report's folder."""

import json

from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.session import Session


def write_comparison(session: Session, result: Comparison) -> None:
    """Tell the results and write evaluation.json (rank 0)."""
    session.channel.evaluation(result.results)
    folder = session.places.report
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "results": [entry.to_wire() for entry in result.results],
        "wins": result.wins, "ties": result.ties, "losses": result.losses,
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(document, indent=1))
