"""Rows that hold an image or a recording, and what it is or says."""

import json
from typing import Any

from finetune_api.dataset import Columns
from finetune_trainer.data.labels import Labels
from finetune_trainer.data.media import MediaFiles
from finetune_trainer.data.row import Row, Tell, sound_text


class MediaLabels(Labels):
    """A file and the name of its class."""

    def __init__(self, columns: Columns, files: MediaFiles) -> None:
        super().__init__(columns)
        self.files = files

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The file's address and its class; equal files are equal bytes."""
        field = getattr(self.columns, self.files.media)
        found = self.files.sound(record[field], field, tell)
        label = self._label(record[self.columns.label], tell)
        if found is None or label is None:
            return None
        address, digest = found
        return Row(address, digest, label)


class ImageLabels(MediaLabels):
    """An image and the name of its class."""

    roles = ("image", "label")


class AudioLabels(MediaLabels):
    """A recording and the name of its class."""

    roles = ("audio", "label")


class AudioText:
    """A recording and what is said in it."""

    roles = ("audio", "text")
    trimmed_labels = 0

    def __init__(self, columns: Columns, files: MediaFiles) -> None:
        self.columns, self.files = columns, files

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """The recording's address and its text, as a JSON pair."""
        audio, text = self.columns.audio, self.columns.text
        found = self.files.sound(record[audio], audio, tell)
        said = sound_text(record[text], text, tell)
        if found is None or said is None:
            return None
        address, digest = found
        return Row(json.dumps([address, said.strip()], ensure_ascii=False), digest, said.strip())
