"""Exports of Label Studio (JSON, JSON-MIN, CSV) as records: a task's data with its annotation.

A task of which nothing can be learnt, because it was skipped or nobody annotated it, is left out
and counted by reason. Annotations of one task that disagree are refused: somebody must decide.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from finetune_trainer.data.columns import Tell
from finetune_trainer.data.problems import shown

Record = dict[str, Any]
OF_EXPORT = frozenset({"annotation_id", "annotator", "lead_time"})
"""Columns by which a JSON-MIN or CSV export is known."""
BOOKKEEPING = OF_EXPORT | {"id", "created_at", "updated_at", "agreement"}
SKIPPED, UNANNOTATED = "skipped by the annotator", "not annotated"
PREDICTED, UNDECIDED = "predictions only", "no choice between the two"
BESIDE_TRUTH, SAME = "annotations beside a ground truth", "annotations that say the same"

KINDS = {
    "choices": "choices", "labels": "labels", "hypertextlabels": "labels", "text": "text",
    "selected": "selected", "chatmessage": "chatmessage", "number": "number", "rating": "number",
}  # fmt: skip
"""What the value of a result holds, and the kind of control that makes it."""
WANTED = {
    "label": ("choices", "number", "text"), "labels": ("choices", "text"), "number": ("number",),
    "spans": ("labels",), "completion": ("text",), "target": ("text",),
}  # fmt: skip
"""Kinds of controls whose values can stand for a role."""


def is_task(record: Mapping[str, Any]) -> bool:
    """Is an object a task of a JSON export?"""
    return isinstance(record.get("data"), dict) and not {"annotations", "predictions"}.isdisjoint(
        record
    )


@dataclass
class Labelled:
    """What is known of a task: its data, and the values of its controls by name with their kind."""

    data: Record
    controls: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def columns(self) -> Record:
        """Data and controls side by side."""
        return self.data | {name: value for name, (_, value) in self.controls.items()}

    def of_kinds(self, kinds: tuple[str, ...]) -> list[str]:
        """The names of the controls of these kinds."""
        return [name for name, (kind, _) in self.controls.items() if kind in kinds]

    def only(self, kind: str) -> str | None:
        """The name of the only control of a kind."""
        names = self.of_kinds((kind,))
        return names[0] if len(names) == 1 else None


class Export:
    """Turns tasks into records with the columns that are asked for."""

    def __init__(self, roles: Mapping[str, str], tell_at: Tell, left_out: Counter[str]) -> None:
        """``roles`` gives each needed column its role."""
        self.roles, self.left_out = roles, left_out
        self._tell_at, self._place = tell_at, 0
        self._of_role = {role: column for column, role in roles.items()}
        self._source_of: dict[str, str] = {}

    def records(self, raw: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
        """Place and record of every task that was annotated; of several rows the first's place."""
        for _, group in groupby(raw, _Tasks()):
            self._place, first = next(group)
            if is_task(first):
                answers = self._of_task(first)
            else:
                answers = [_of_row(first), *(_of_row(row) for _, row in group)]
            record = self._agreed([self._record(answer) for answer in answers])
            if record is not None:
                yield self._place, record

    def _of_task(self, task: Record) -> list[Labelled]:
        """What the annotations of a task say; the one that is the ground truth alone."""
        annotations = task.get("annotations") or []
        if not all(isinstance(one, dict) for one in annotations):
            self._tell_at(
                self._place,
                rule="names its annotations without holding them", field="annotations",
                value=shown(annotations), fix="export the project as JSON or JSON-MIN",
            )  # fmt: skip
            return []
        made = [one for one in annotations if not one.get("was_cancelled")]
        if not made:
            predicted = PREDICTED if task.get("predictions") else UNANNOTATED
            self.left_out[SKIPPED if annotations else predicted] += 1
            return []
        truths = [one for one in made if one.get("ground_truth")]
        if len(truths) == 1:
            self.left_out[BESIDE_TRUTH] += len(made) - 1
            made = truths
        return [Labelled(task["data"], _controls(one.get("result") or [])) for one in made]

    def _agreed(self, records: list[Record | None]) -> Record | None:
        """The record that all annotations give; None when there is none, or several (told)."""
        found = [record for record in records if record is not None]
        if not found:
            return None
        needed = [{name: record.get(name) for name in self.roles} for record in found]
        other = next((record for record in needed if record != needed[0]), None)
        if other is not None:
            field_name = next(name for name in self.roles if other[name] != needed[0][name])
            self._tell_at(
                self._place,
                rule="has annotations that disagree", field=field_name,
                value=f"{shown(needed[0][field_name])[:36]} and {shown(other[field_name])[:36]}",
                fix="mark one annotation of the task as ground truth, or delete the others",
            )  # fmt: skip
            return None
        self.left_out[SAME] += len(found) - 1
        return found[0]

    def _record(self, labelled: Labelled) -> Record | None:
        record = labelled.columns()
        for column, role in self.roles.items():
            if column not in record:
                sources = self._sources(role, labelled)
                if len(sources) == 1:
                    self._source_of[role] = sources[0]
                    record[column] = record[sources[0]]
                elif not sources and role in ("spans", "labels"):
                    record[column] = []
            if role in ("spans", "labels") and record.get(column, 0) in ("", None):
                record[column] = []  # Nothing was marked, which is an answer.
            if role == "labels" and isinstance(record.get(column), str):
                record[column] = [record[column]]
        if "messages" in self._of_role:
            self._add_messages(record, labelled)
        if {"text", "spans"} <= self._of_role.keys():
            return record if self._spans_are_placed(record) else None
        if {"chosen", "rejected"} <= self._of_role.keys():
            return self._preferred(record, labelled)
        return record

    def _sources(self, role: str, labelled: Labelled) -> list[str]:
        """Columns that can stand for a role which no column is named for: the one that did before,
        else all that fit."""
        if role in self._source_of:
            return [n for n in labelled.columns() if n == self._source_of[role]]
        if role in WANTED:
            names = labelled.of_kinds(WANTED[role])
        elif role in ("text", "prompt", "source", "messages"):
            kind = list if role == "messages" else str
            names = [name for name, value in labelled.data.items() if isinstance(value, kind)]
        else:
            names = []
        return [name for name in names if name not in BOOKKEEPING | self.roles.keys()]

    def _add_messages(self, record: Record, labelled: Labelled) -> None:
        """What the annotator wrote stands after what the task came with."""
        column, chat = self._of_role["messages"], labelled.only("chatmessage")
        if chat is None:
            return
        lists = [value for value in labelled.data.values() if isinstance(value, list)]
        before = labelled.data.get(
            column, labelled.data.get(chat, lists[0] if len(lists) == 1 else [])
        )
        if isinstance(before, list):
            record[column] = [*before, *labelled.controls[chat][1]]

    def _spans_are_placed(self, record: Record) -> bool:
        """Do spans hold the texts that were marked? Browsers count characters beyond the first
        65,536, as emoji, twice: such places are corrected, others told."""
        text, field_name = record.get(self._of_role["text"]), self._of_role["spans"]
        spans = record.get(field_name)
        if not isinstance(text, str) or not isinstance(spans, list):
            return True  # Told by the layout.
        for number, span in enumerate(spans):
            start, end, marked = (span.get(k) for k in ("start", "end", "text"))
            if type(start) is not int or type(end) is not int or not isinstance(marked, str):
                continue
            if _same(text[start:end], marked):
                continue
            twice = text.encode("utf-16-le", "surrogatepass")
            if _same(_decoded(twice[2 * start : 2 * end]), marked):
                before, within = (
                    _decoded(twice[2 * a : 2 * b]) for a, b in ((0, start), (start, end))
                )
                span |= {"start": len(before), "end": len(before) + len(within)}
                continue
            self._tell_at(
                self._place,
                rule="does not hold the text that was marked", field=f"{field_name}[{number}]",
                value=f"{start} to {end}: {text[start:end]!r} instead of {marked!r}",
                fix="export the tasks with the texts that were annotated",
            )  # fmt: skip
            return False
        return True

    def _preferred(self, record: Record, labelled: Labelled) -> Record | None:
        """Columns ``chosen`` and ``rejected`` name the left and the right answer."""
        pairwise = labelled.only("selected")
        selected = labelled.controls[pairwise][1] if pairwise is not None else None
        if selected not in ("left", "right"):
            self.left_out[UNDECIDED] += 1
            return None
        left, right = self._of_role["chosen"], self._of_role["rejected"]
        if selected == "right" and left in record and right in record:
            record[left], record[right] = record[right], record[left]
        return record


class _Tasks:
    """A key that rows of one task share: a JSON-MIN or CSV export has a row for each annotation."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, numbered: tuple[int, Record]) -> object:
        self._number += 1
        _, record = numbered
        is_row = "id" in record and not is_task(record)
        return ("task", str(record["id"])) if is_row else self._number


def _decoded(units: bytes) -> str:
    return units.decode("utf-16-le", "replace")


def _same(text: str, marked: str) -> bool:
    """Are two texts the same but for line breaks, which are marked in several ways?"""
    return "".join(text.split()) == "".join(marked.replace("\\n", " ").split())


def _controls(results: list[Any]) -> dict[str, tuple[str, Any]]:
    """Values of an annotation's results by the name of the control that they come from."""
    found: dict[str, list[Record]] = {}
    for result in results:
        if isinstance(result, dict) and isinstance(result.get("value"), dict):
            found.setdefault(str(result.get("from_name")), []).append(result["value"])
    return {name: _value(values) for name, values in found.items()}


def _value(values: list[Record]) -> tuple[str, Any]:
    """Kind and value of a control: what its results hold together."""
    # A span of text has `text` beside its labels, so that is looked for last.
    kind = next((k for k in sorted(KINDS, key="text".__eq__) if k in values[0]), "")
    held = [value.get(kind) for value in values]
    match KINDS.get(kind):
        case "choices" | "text":
            texts = [text for one in held for text in (one if isinstance(one, list) else [one])]
            return KINDS[kind], texts[0] if len(texts) == 1 else texts
        case "labels":
            return "labels", [
                {k: value.get(k) for k in ("start", "end", "text")} | {"label": label}
                for value, labels in zip(values, held, strict=True)
                for label in (labels or [])
            ]
        case "chatmessage":
            return "chatmessage", held
        case None:
            return "", values
        case known:
            return known, held[0]


def _of_row(row: Record) -> Labelled:
    """A row of a JSON-MIN or CSV export, in which data and controls stand side by side."""
    data: Record = {}
    controls: dict[str, tuple[str, Any]] = {}
    for name, cell in row.items():
        value = _parsed(cell)
        values = value if isinstance(value, list) else [value]
        if values and all(isinstance(v, dict) and KINDS.keys() & v.keys() for v in values):
            controls[name] = _value(values)
        else:
            data[name] = value
    # One choice or one text of a control is exported as it is, beside the text that it is about.
    texts = {n: ("text", v) for n, v in data.items() if isinstance(v, str) and n not in BOOKKEEPING}
    return Labelled(data, controls | texts)


def _parsed(cell: Any) -> Any:
    """The value of a cell of a CSV export, in which lists and objects are written as JSON."""
    if isinstance(cell, str) and cell[:2] in ("[{", '{"', "[]", '["'):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell
