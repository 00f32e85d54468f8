"""Texts with entities, given by characters or by words; both become words with IOB2 tags.

A word is a run of letters and digits, one sign, or one character of a script that puts no spaces
between words. Entities must begin and end with words: a model tags words.
"""

import json
import re
from itertools import pairwise
from typing import Any

from finetune_api.dataset import Columns
from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import Row, Tell, encodable, sound_text

SPACELESS = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Khmer, Japanese and Chinese."""
WORD = re.compile(rf"[{SPACELESS}]|[^\W{SPACELESS}]+|[^\w\s]")
OUTSIDE = "O"
SPAN_FIX = 'write [{"start": 0, "end": 5, "label": "PER"}, …], or [] for a row without any'
TAGS_FIX = "write O, or B- and I- with the entity's label, one for each token"

Found = tuple[int, int, str]


class Spans:
    """A text, and where its entities stand in characters."""

    roles = ("text", "spans")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The text's words with their tags."""
        text = sound_text(record[self.columns.text], self.columns.text, tell)
        field, spans = self.columns.spans, record[self.columns.spans]
        if not isinstance(spans, list):
            tell(rule="must be a list of spans", field=field, value=shown(spans), fix=SPAN_FIX)
            return None
        if text is None:
            return None
        words = [match.span() for match in WORD.finditer(text)]
        checked = [self._span(number, span, text, words, tell) for number, span in enumerate(spans)]
        sound = sorted(span for span in checked if span is not None)
        if len(sound) < len(spans) or not self._apart(sound, text, tell):
            return None
        return _row(text, words, _tagged(words, sound))

    def _span(
        self, number: int, span: object, text: str, words: list[tuple[int, int]], tell: Tell
    ) -> Found | None:
        field = f"{self.columns.spans}[{number}]"
        if not isinstance(span, dict) or not {"start", "end", "label"} <= span.keys():
            tell(rule="is no span", field=field, value=shown(span), fix=SPAN_FIX)
            return None
        start, end, label = span["start"], span["end"], span["label"]
        if not isinstance(label, str) or not label.strip() or not encodable(label):
            tell(
                rule="must be text", field=f"{field}.label", value=shown(label),
                fix="give every span the name of what it is",
            )  # fmt: skip
            return None
        if type(start) is not int or type(end) is not int or not 0 <= start <= end <= len(text):
            tell(
                rule="lies outside the text", field=field,
                value=f"{shown(start)} to {shown(end)}, the text has {len(text)} characters",
                fix="count characters from 0; end is the first character after the span",
            )  # fmt: skip
            return None
        if start == end:
            tell(
                rule="is empty", field=field, value=f"{start} to {end}",
                fix="let end be the first character after the span, or remove it",
            )  # fmt: skip
            return None
        if not any(a == start for a, _ in words) or not any(b == end for _, b in words):
            tell(
                rule="does not begin and end with words", field=field,
                value=f"{start} to {end}: {text[start:end]!r}", fix=_aligned(start, end, words),
            )  # fmt: skip
            return None
        return start, end, label.strip()

    def _apart(self, spans: list[Found], text: str, tell: Tell) -> bool:
        """Are they apart from each other? ``spans`` in order."""
        for (a, b, _), (start, end, _) in pairwise(spans):
            if start < b:
                tell(
                    rule="has spans that overlap", field=self.columns.spans,
                    value=f"{a} to {b}: {text[a:b]!r} and {start} to {end}: {text[start:end]!r}",
                    fix="keep one of them: every word has one label",
                )  # fmt: skip
                return False
        return True


class TokenTags:
    """A text as words, and a tag for each."""

    roles = ("tokens", "tags")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The words, a space between them, with their tags."""
        tokens, tags = record[self.columns.tokens], record[self.columns.tags]
        sound = True
        for field, values, what in (
            (self.columns.tokens, tokens, "words"), (self.columns.tags, tags, "tags"),
        ):  # fmt: skip
            if not isinstance(values, list) or not values:
                tell(
                    rule=f"must be a list of {what}", field=field, value=shown(values),
                    fix="write one list of words and one of tags in every row",
                )  # fmt: skip
                sound = False
        if not sound:
            return None
        if len(tokens) != len(tags):
            tell(
                rule="has another number of tags than of tokens", field=self.columns.tags,
                value=f"{len(tags)} tags, {len(tokens)} tokens", fix=TAGS_FIX,
            )  # fmt: skip
            return None
        words = [
            sound_text(token, f"{self.columns.tokens}[{number}]", tell)
            for number, token in enumerate(tokens)
        ]
        if None in words or not self._in_order(tags, tell):
            return None
        text, places = "", []
        for word in words:
            assert word is not None
            start = len(text) + bool(text)
            text = f"{text} {word}" if text else word
            places.append((start, len(text)))
        return _row(text, places, tags)

    def _in_order(self, tags: list[object], tell: Tell) -> bool:
        """Are they tags, and does every entity begin with B-? The first that is not is told."""
        before = OUTSIDE
        for number, tag in enumerate(tags):
            field = f"{self.columns.tags}[{number}]"
            if not isinstance(tag, str) or not re.fullmatch(r"O|[BI]-\S.*", tag):
                tell(rule="is no tag", field=field, value=shown(tag), fix=TAGS_FIX)
                return False
            if tag.startswith("I-") and before[2:] != tag[2:]:
                tell(
                    rule="continues an entity that has not begun", field=field,
                    value=f"{tag} after {before}",
                    fix="let every entity begin with B- (IOB2)",
                )  # fmt: skip
                return False
            before = tag
        return True


def _row(text: str, words: list[tuple[int, int]], tags: list[str]) -> Row:
    labels = tuple(sorted({tag[2:] for tag in tags if tag != OUTSIDE}))
    content = json.dumps({"text": text, "words": words, "tags": tags}, ensure_ascii=False)
    return Row(content, text, json.dumps([words, tags]), labels)


def _tagged(words: list[tuple[int, int]], spans: list[Found]) -> list[str]:
    """The tag of every word; ``spans`` are sound."""
    begins = {start: (end, label) for start, end, label in spans}
    tags, until, label = [], 0, ""
    for start, _ in words:
        if start in begins:
            until, label = begins[start]
            tags.append(f"B-{label}")
        else:
            tags.append(f"I-{label}" if start < until else OUTSIDE)
    return tags


def _aligned(start: int, end: int, words: list[tuple[int, int]]) -> str:
    """The remedy: the nearest offsets that words allow."""
    touched = [(a, b) for a, b in words if a < end and b > start]
    if not touched:
        return "remove spans that hold no word"
    return f"write start {touched[0][0]} and end {touched[-1][1]}, or mend the text"
