"""The comparison as it is told and kept in the report's folder."""

import json
from collections.abc import Sequence

from finetune_trainer.evaluate.compare import Comparison
from finetune_trainer.evaluate.generate import Reference
from finetune_trainer.session import Session

EVALUATION, FORGETTING = "evaluation", "forgetting"
"""Names of comparisons: on the test rows, and on the general set."""


def write_comparison(session: Session, result: Comparison) -> None:
    """Tell the results and write evaluation.json (rank 0)."""
    session.channel.evaluation(result.results)
    write_results(session, result, EVALUATION)


def write_results(session: Session, result: Comparison, name: str) -> None:
    """Write a comparison into the report's folder (rank 0)."""
    folder = session.places.report
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "results": [entry.to_wire() for entry in result.results],
        "wins": result.wins, "ties": result.ties, "losses": result.losses,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1))


def write_answers(
    session: Session,
    result: Comparison,
    rows: Sequence[Reference],
    base: Sequence[str],
    tuned: Sequence[str],
) -> None:
    """The same, and answers.jsonl with both answers beside prompt and reference (rank 0)."""
    write_comparison(session, result)
    with (session.places.report / "answers.jsonl").open("w", encoding="utf-8") as file:
        for row, before, now in zip(rows, base, tuned, strict=True):
            line = {"prompt": row.prompt, "reference": row.answer, "base": before}
            file.write(json.dumps({**line, "tuned": now}, ensure_ascii=False) + "\n")
