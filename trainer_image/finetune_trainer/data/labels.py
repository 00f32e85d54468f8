"""A text and the name of its class."""

from typing import Any

from finetune_api.dataset import Columns
from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import Row, Tell, encodable, sound_text

LABEL_RULE = "must be text or a whole number"
LABEL_FIXES = {
    float: "write the class name as text, or set dataset.labels: Number when it is a quantity",
    list: "write the class name as text, or set dataset.labels: Multi and lists in all rows",
}


class Labels:
    """A text and the name of its class."""

    roles = ("text", "label")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.trimmed_labels = 0
        self._names = columns.text, columns.label
        self._sound: set[str] = set()
        """Labels that were found sound as they are: there are few, and rows are many."""

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Text and class name."""
        text_column, label_column = self._names
        text = sound_text(record[text_column], text_column, tell)
        label = self._label(record[label_column], tell)
        return Row(text, text, label) if text is not None and label is not None else None

    def _label(self, value: object, tell: Tell) -> str | None:
        if isinstance(value, str) and value in self._sound:
            return value
        field = self.columns.label
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is None or (isinstance(value, str) and not value.strip()):
            tell(
                rule="has no value", fix="give every row its class", field=field,
                value=shown(value),
            )  # fmt: skip
            return None
        if not isinstance(value, str) or not encodable(value):
            tell(
                rule=LABEL_RULE, field=field, value=shown(value),
                fix=LABEL_FIXES.get(type(value), "write the class name as text"),
            )  # fmt: skip
            return None
        trimmed = value.strip()
        if trimmed == value:
            self._sound.add(value)
        else:
            self.trimmed_labels += 1
        return trimmed
