"""A folder of files for each class, read as if it were a table of paths and class names."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from finetune_api.dataset import Columns, DatasetFormat
from finetune_api.learning import Media
from finetune_trainer.data.detect import Detected
from finetune_trainer.data.media import class_of, is_media_name
from finetune_trainer.data.problems import Problems

FORMATS = {
    Media.IMAGE: DatasetFormat.IMAGE_FOLDER,
    Media.AUDIO: DatasetFormat.AUDIO_FOLDER,
}


def detected(media: Media) -> Detected:
    """What such a folder is found to be."""
    return Detected(FORMATS[media], "a folder of files for each class")


class ClassFolders:
    """Reads the files below a folder, in order; as ``Reader`` reads the rows of a file. A row's
    place is the file itself."""

    header_line = None
    blank_lines = 0
    left_out: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self, path: Path, name: str, media: Media, columns: Columns, problems: Problems
    ) -> None:
        self.path, self.name, self.media, self.problems = path, name, media, problems
        self.columns_named = getattr(columns, media), columns.label
        self.line = 0
        self.files: list[str] = []
        for folder, folders, files in os.walk(path):
            folders.sort()
            place = Path(folder).relative_to(path)
            self.files += [(place / file).as_posix() for file in sorted(files)]
        self.files = [file for file in self.files if is_media_name(file, media)]
        problems.members[name] = self.files

    def columns(self) -> list[str]:
        """As a table would have them."""
        return list(self.columns_named)

    def first(self, name: str, roles: Mapping[str, str]) -> object:
        """Nothing that decides anything."""
        return None

    def records(self, roles: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Path and class of every file."""
        file_column, label_column = self.columns_named
        for number, file in enumerate(self.files, 1):
            self.line = number
            label = class_of(file)
            if not label:
                self.tell(
                    rule="stands in no folder of a class",
                    fix="move it into a folder that has its class's name",
                )  # fmt: skip
                continue
            yield {file_column: file, label_column: label}

    def tell(self, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at the present file."""
        file = self.files[self.line - 1]
        shown = value.removeprefix(file).removeprefix(": ")
        self.problems.add(self.name, self.line, rule=rule, fix=fix, value=shown)

    def tell_at(self, line: int, *, rule: str, fix: str, field: str = "", value: str = "") -> None:
        """One broken rule at the folder itself."""
        self.problems.add(self.name, 0, rule=rule, fix=fix, field=field, value=value)
