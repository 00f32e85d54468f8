"""The first training rows as a model reads them, and which of their parts it learns."""

from itertools import groupby
from pathlib import Path
from typing import Any

from finetune_api.learning import Layout
from finetune_trainer.data.encode import IGNORED

ROWS = 3
LONGEST = 2000
"""Characters of a part that are shown."""
WRITTEN = (Layout.PROMPT_COMPLETION, Layout.MESSAGES, Layout.TEXT, Layout.SOURCE_TARGET)
"""Layouts whose labels are tokens."""

Part = dict[str, str | bool]


def preview(layout: Layout, train: Path, tokenizer: Any) -> list[list[Part]]:
    """Rows as parts of text, each learnt or only read; none where rows are labelled otherwise."""
    if layout not in WRITTEN:
        return []
    import datasets

    rows = datasets.load_from_disk(str(train))
    first = rows.select(range(min(ROWS, len(rows))))
    if not isinstance(first[0]["labels"], list):
        return []
    if layout is Layout.SOURCE_TARGET:
        return [
            [
                _part(tokenizer, row["input_ids"], learnt=False),
                _part(tokenizer, row["labels"], learnt=True),
            ]
            for row in first
        ]
    return [_parts(row, tokenizer) for row in first]


def _parts(row: dict[str, Any], tokenizer: Any) -> list[Part]:
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    groups = groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    return [_part(tokenizer, [token for token, _ in run], learnt=learnt) for learnt, run in groups]


def _part(tokenizer: Any, ids: list[int], *, learnt: bool) -> Part:
    text = tokenizer.decode(ids)
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return {"text": cut, "learnt": learnt}
