"""A text and any number of labels."""

import json
from typing import Any

from finetune_api.dataset import Columns
from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import Row, Tell, encodable, sound_text

FIX = 'write ["label", "other label"], or [] for a row without any'


class LabelLists:
    """A text, and the names of all that it is."""

    roles = ("text", "label")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.trimmed_labels = 0

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Text and names, each name once and in order."""
        text = sound_text(record[self.columns.text], self.columns.text, tell)
        names = self._names(record[self.columns.label], tell)
        if text is None or names is None:
            return None
        labels = tuple(sorted(names))
        content = json.dumps({"text": text, "labels": labels}, ensure_ascii=False)
        return Row(content, text, json.dumps(labels), labels)

    def _names(self, value: object, tell: Tell) -> set[str] | None:
        field = self.columns.label
        if not isinstance(value, list):
            tell(rule="must be a list of labels", field=field, value=shown(value), fix=FIX)
            return None
        names: set[str] = set()
        for number, name in enumerate(value):
            if not isinstance(name, str) or not name.strip() or not encodable(name):
                tell(
                    rule="must be text", field=f"{field}[{number}]", value=shown(name),
                    fix="write every label as text",
                )  # fmt: skip
                return None
            names.add(name.strip())
            self.trimmed_labels += name != name.strip()
        if len(names) < len(value):
            tell(rule="names a label twice", field=field, value=shown(value), fix="name it once")
            return None
        return names
