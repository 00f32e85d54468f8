"""What a row holds: records of a file become examples, every one checked.

A layout yields only sound rows; whatever is wrong with a record goes to ``Problems``. Nothing is
guessed: a label that is a number with a fraction, or a conversation without an answer, is an error.
"""

import json
from difflib import get_close_matches
from typing import Any, Protocol

from finetune_api.dataset import Columns
from finetune_api.learning import Layout
from finetune_trainer.data.judgements import NAMES, Judged, judgement
from finetune_trainer.data.labels import Labels
from finetune_trainer.data.media_rows import AudioLabels, AudioText, ImageLabels
from finetune_trainer.data.problems import shown
from finetune_trainer.data.prompts import Prompt
from finetune_trainer.data.questions import Answers
from finetune_trainer.data.row import Row, Tell, sound_text
from finetune_trainer.data.spans import Spans, TokenTags

ROLES = ("system", "user", "assistant")
COMMON = {
    "text": ("text", "sentence", "content", "body", "message", "input", "review", "document"),
    "label": ("label", "labels", "category", "class", "target", "intent", "topic", "tag"),
    "prompt": ("prompt", "instruction", "question", "input", "query", "source"),
    "completion": ("completion", "response", "answer", "output", "target", "reply"),
    "source": (
        "source",
        "document",
        "article",
        "dialogue",
        "text",
        "input",
        "source_text",
        "src",
    ),
    "target": (
        "target",
        "summary",
        "highlights",
        "translation",
        "output",
        "target_text",
        "tgt",
    ),
    "chosen": ("chosen", "preferred", "accepted", "winner", "better"),
    "rejected": ("rejected", "dispreferred", "loser", "worse"),
    "messages": ("messages", "conversation", "conversations", "chat", "dialog"),
    "spans": ("spans", "entities", "annotations", "label", "labels", "ents"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels", "iob_tags"),
    "group": ("group", "subgroup", "source", "region", "domain"),
    "context": ("context", "passage", "paragraph", "document", "text"),
    "question": ("question", "query"),
    "answers": ("answers", "answer"),
    "image": ("image", "img", "file_name", "filename", "file", "path", "image_path", "picture"),
    "audio": ("audio", "file_name", "filename", "file", "path", "audio_path", "wav", "sound"),
}
"""Names that people give to the column of a role."""


class RowLayout(Protocol):
    """Turns records into rows."""

    roles: tuple[str, ...]
    """Fields of ``spec.dataset.columns`` that a record must have."""
    trimmed_labels: int
    """Labels that had spaces around them."""

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The example in a record that has all columns; None when it is not sound (told)."""
        ...


class PromptCompletion:
    """What is asked and what is to be answered."""

    roles = ("prompt", "completion")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Prompt and completion, as a JSON pair."""
        prompt = sound_text(record[self.columns.prompt], self.columns.prompt, tell)
        completion = sound_text(record[self.columns.completion], self.columns.completion, tell)
        if prompt is None or completion is None:
            return None
        return Row(json.dumps([prompt, completion], ensure_ascii=False), prompt, completion)


class SourceTarget:
    """A text, and its summary or translation."""

    roles = ("source", "target")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Source and target, as a JSON pair."""
        source = sound_text(record[self.columns.source], self.columns.source, tell)
        target = sound_text(record[self.columns.target], self.columns.target, tell)
        if source is None or target is None:
            return None
        return Row(json.dumps([source, target], ensure_ascii=False), source, target)


class Preference:
    """What is asked, a better and a worse answer."""

    roles = ("prompt", "chosen", "rejected")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Prompt, chosen and rejected answer, as a JSON list."""
        columns = [getattr(self.columns, role) for role in self.roles]
        texts = [sound_text(record[column], column, tell) for column in columns]
        prompt, chosen, rejected = texts
        if prompt is None or chosen is None or rejected is None:
            return None
        if chosen == rejected:
            _tell_no_preference(self.columns, rejected, tell)
            return None
        content, answer = (json.dumps(t, ensure_ascii=False) for t in (texts, texts[1:]))
        return Row(content, prompt, answer)


class Text:
    """A text to be learnt as a whole."""

    roles = ("text",)
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The text."""
        text = sound_text(record[self.columns.text], self.columns.text, tell)
        return Row(text, text, "") if text is not None else None


class Messages:
    """A conversation that ends with an answer."""

    roles = ("messages",)
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The turns, as a JSON list of `{role, content}`."""
        field, turns = self.columns.messages, record[self.columns.messages]
        if not isinstance(turns, list) or not turns:
            tell(
                rule="must be a list of messages", field=field, value=shown(turns),
                fix='write [{"role": "user", "content": …}, {"role": "assistant", …}]',
            )  # fmt: skip
            return None
        checked = [self._turn(number, turn, tell) for number, turn in enumerate(turns)]
        sound = [turn for turn in checked if turn is not None]
        if len(sound) < len(turns) or not self._in_order([t["role"] for t in sound], tell):
            return None
        content, asked = (json.dumps(part, ensure_ascii=False) for part in (sound, sound[:-1]))
        return Row(content, asked, sound[-1]["content"])

    def _turn(self, number: int, turn: object, tell: Tell) -> dict[str, str] | None:
        field = f"{self.columns.messages}[{number}]"
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            tell(
                rule="is no message", field=field, value=shown(turn),
                fix="give every message a role and a content",
            )  # fmt: skip
            return None
        role = turn["role"]
        if role not in ROLES:
            tell(
                rule="has an unknown role", field=f"{field}.role", value=shown(role),
                fix=f"use one of {', '.join(ROLES)}",
            )  # fmt: skip
            return None
        content = sound_text(turn["content"], f"{field}.content", tell)
        return {"role": role, "content": content} if content is not None else None

    def _in_order(self, roles: list[str], tell: Tell) -> bool:
        """An optional system message, then user and assistant in turns, the last one answering."""
        turns = roles[1:] if roles[0] == "system" else roles
        wanted = [("user", "assistant")[number % 2] for number in range(len(turns))]
        if turns and turns == wanted and turns[-1] == "assistant":
            return True
        tell(
            rule="does not go user, assistant, …, assistant", field=self.columns.messages,
            value=", ".join(roles)[:60], fix="let every conversation end with an answer",
        )  # fmt: skip
        return False


class PreferredMessages:
    """Two conversations that differ in their last answer."""

    roles = ("chosen", "rejected")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._sides = [
            Messages(columns.model_copy(update={"messages": getattr(columns, role)}))
            for role in self.roles
        ]

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Both conversations, the better one first, as a JSON list."""
        chosen, rejected = (side.row(record, tell) for side in self._sides)
        if chosen is None or rejected is None:
            return None
        if chosen.asked != rejected.asked:
            tell(
                rule=f"does not ask what {self.columns.chosen!r} asks", field=self.columns.rejected,
                fix="let both conversations differ in their last answer alone",
            )  # fmt: skip
            return None
        if chosen.answer == rejected.answer:
            _tell_no_preference(self.columns, rejected.answer, tell)
            return None
        answers = json.dumps([chosen.answer, rejected.answer], ensure_ascii=False)
        return Row(f"[{chosen.content}, {rejected.content}]", chosen.asked, answers)


class JudgedMessages:
    """A conversation, and the judgement of its last answer."""

    roles = ("messages", "label")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns, self._messages = columns, Messages(columns)

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Conversation and judgement, as a JSON list."""
        said = self._messages.row(record, tell)
        good = judgement(record[self.columns.label], self.columns.label, tell)
        if said is None or good is None:
            return None
        answer = json.dumps([said.answer, good], ensure_ascii=False)
        content = f"[{said.content}, {json.dumps(good)}]"
        return Row(content, said.asked, answer, (NAMES[good],))


def _tell_no_preference(columns: Columns, answer: str, tell: Tell) -> None:
    tell(
        rule=f"is the same as {columns.chosen!r}", field=columns.rejected, value=shown(answer),
        fix="remove rows without a preference",
    )  # fmt: skip


LAYOUTS: dict[Layout, type[Any]] = {
    Layout.LABELS: Labels,
    Layout.PROMPT_COMPLETION: PromptCompletion,
    Layout.MESSAGES: Messages,
    Layout.SOURCE_TARGET: SourceTarget,
    Layout.SPANS: Spans,
    Layout.TOKEN_TAGS: TokenTags,
    Layout.PREFERENCE: Preference,
    Layout.PREFERENCE_MESSAGES: PreferredMessages,
    Layout.KTO: Judged,
    Layout.KTO_MESSAGES: JudgedMessages,
    Layout.ANSWERS: Answers,
    Layout.PROMPT: Prompt,
    Layout.TEXT: Text,
    Layout.IMAGE_LABELS: ImageLabels,
    Layout.AUDIO_LABELS: AudioLabels,
    Layout.AUDIO_TEXT: AudioText,
}


def choose(
    asked: Layout, possible: tuple[Layout, ...], columns: Columns, seen: list[str]
) -> Layout:
    """The layout of a dataset: as asked, else the task's whose columns are there, else the one
    whose columns are there under other usual names; those are then told as missing."""
    if asked is not Layout.AUTO:
        return asked
    lowered = {name.lower() for name in seen}

    def likeness(layout: Layout) -> tuple[int, int]:
        roles = LAYOUTS[layout].roles
        present = [getattr(columns, role) in seen for role in roles]
        return all(present), sum(bool(lowered.intersection(COMMON[role])) for role in roles)

    return max(possible, key=likeness)


def tell_missing(layout: RowLayout, columns: Columns, seen: list[str], tell: Tell) -> None:
    """Tell each column that a record lacks, with the likeliest of those seen."""
    names = {role: getattr(columns, role) for role in layout.roles}
    for role, name in names.items():
        if name in seen:
            continue
        others = [other for other in names.values() if other != name]
        candidates = [column for column in seen if column not in others]
        lowered = {column.lower(): column for column in candidates}
        close = [lowered[common] for common in COMMON[role] if common in lowered]
        close += get_close_matches(name, candidates, n=1)
        tell(
            rule="is missing", field=name,
            value="columns seen: " + (", ".join(seen[:12]) or "none"),
            fix=f"set dataset.columns.{role}: {close[0] if close else 'the name of the column'}",
        )  # fmt: skip
