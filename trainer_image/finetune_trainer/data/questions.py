"""Questions about a text that holds the answer, or does not: rows as SQuAD has them.

An answer must stand in its context at its offset, to the character: an offset that is off by one
teaches the wrong words, and nothing would tell.
"""

import json
from typing import Any

from finetune_api.dataset import Columns
from finetune_trainer.data.problems import short, shown
from finetune_trainer.data.row import Row, Tell, sound_text

ANSWERS_RULE = "must be answers with their places"
ANSWERS_FIX = (
    'write {"text": ["Rome"], "answer_start": [14]}, with empty lists for a question without answer'
)
OFFSET_FIX = "count characters from 0; answer_start is the answer's first character"

Answer = tuple[str, int]


class Answers:
    """A context, a question and the answers of it."""

    roles = ("context", "question", "answers")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Question, context, texts and offsets of the answers, as a JSON list."""
        context = sound_text(record[self.columns.context], self.columns.context, tell)
        question = sound_text(record[self.columns.question], self.columns.question, tell)
        answers = self._answers(record[self.columns.answers], context, tell)
        if context is None or question is None or answers is None:
            return None
        texts, starts = [text for text, _ in answers], [start for _, start in answers]
        content = json.dumps([question, context, texts, starts], ensure_ascii=False)
        return Row(content, f"{question}\0{context}", json.dumps([texts, starts]))

    def _answers(self, value: object, context: str | None, tell: Tell) -> list[Answer] | None:
        """The answers, all of them sound; None otherwise (told)."""
        field = self.columns.answers
        pairs = _pairs(value)
        if pairs is None:
            tell(rule=ANSWERS_RULE, field=field, value=shown(value), fix=ANSWERS_FIX)
            return None
        if isinstance(pairs, str):
            tell(
                rule="has another number of texts than of offsets", field=field, value=pairs,
                fix="give every text its answer_start",
            )  # fmt: skip
            return None
        checked = [self._answer(number, *pair, context, tell) for number, pair in enumerate(pairs)]
        sound = [answer for answer in checked if answer is not None]
        return sound if len(sound) == len(pairs) else None

    def _answer(
        self, number: int, text: object, start: object, context: str | None, tell: Tell
    ) -> Answer | None:
        field = f"{self.columns.answers}[{number}]"
        text_sound = sound_text(text, f"{field}.text", tell)
        if type(start) is not int:
            tell(
                rule="must be a whole number", field=f"{field}.answer_start", value=shown(start),
                fix=OFFSET_FIX,
            )  # fmt: skip
            return None
        if text_sound is None or context is None:
            return None
        if not 0 <= start < len(context):
            tell(
                rule="lies outside the context", field=f"{field}.answer_start", fix=OFFSET_FIX,
                value=f"{start}, the context has {len(context)} characters",
            )  # fmt: skip
            return None
        if context.startswith(text_sound, start):
            return text_sound, start
        if text_sound not in context:
            tell(
                rule="does not stand in the context", field=f"{field}.text",
                value=shown(text_sound),
                fix="write the answer as the context has it, to the character",
            )  # fmt: skip
            return None
        there = short(repr(context[start : start + len(text_sound)]))
        tell(
            rule="does not stand at its offset", field=f"{field}.answer_start",
            value=f"{start} is {there}", fix=_nearest(text_sound, context, start),
        )  # fmt: skip
        return None


def _pairs(value: object) -> list[tuple[object, object]] | str | None:
    """Texts with their offsets, of either form; how many there are of each when not as many, and
    None when it is neither form."""
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list):
            return None
        if len(texts) != len(starts):
            return f"{len(texts)} texts, {len(starts)} offsets"
        return list(zip(texts, starts, strict=True))
    if not isinstance(value, list):
        return None
    if not all(isinstance(one, dict) and {"text", "answer_start"} <= one.keys() for one in value):
        return None
    return [(one["text"], one["answer_start"]) for one in value]


def _nearest(text: str, context: str, start: int) -> str:
    """The remedy: the place of the answer that is nearest to where it was said to be."""
    before, after = context.rfind(text, 0, start + len(text)), context.find(text, start)
    found = min((at for at in (before, after) if at >= 0), key=lambda at: abs(at - start))
    return f"write answer_start {found}, if that is the place meant"
