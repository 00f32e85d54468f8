"""Where the bytes of images and recordings stand: in files that rows name, or in the rows.

What training needs of them is taken from there when rows are encoded, so a row's content is no more
than an address on disk.
"""

import json
from pathlib import Path, PurePosixPath

from xxhash import xxh3_128

from finetune_api.learning import Media
from finetune_trainer.data import images, sounds
from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import Tell

SUFFIXES: dict[Media, tuple[str, ...]] = {
    Media.IMAGE: images.SUFFIXES,
    Media.AUDIO: sounds.SUFFIXES,
}
SOUND = {Media.IMAGE: images.is_sound, Media.AUDIO: sounds.is_sound}
ONE = {Media.IMAGE: "an image", Media.AUDIO: "a recording"}
"""What one is called."""
MOST_BYTES = 256 * 2**20
"""Bytes of a file at most: each is held in memory while it is looked at."""
PATH_FIX = "write the path below the folder of the data file, with /"


def is_media_name(name: str, media: Media) -> bool:
    """Is a file below a prefix one of these media? Hidden files are not."""
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and base.lower().endswith(SUFFIXES[media])


def is_below(path: str) -> bool:
    """Is it a path that leads to a file below a folder, and nowhere else?"""
    parts = path.split("/")
    return "://" not in path and not {"", ".", ".."}.intersection(parts) and "\0" not in path


class MediaFiles:
    """Looks at the media of rows. ``folder`` is where paths start; bytes that stand in the rows
    themselves are appended to the file ``kept``."""

    def __init__(self, media: Media, folder: Path, kept: Path) -> None:
        self.media, self.folder, self.kept = media, folder, kept

    def sound(self, value: object, field: str, tell: Tell) -> tuple[str, str] | None:
        """The address of a row's media and the digest of its bytes; None when it is not sound
        (told)."""
        data, path = self._inside(value), ""
        if data is None:
            path = self._path(value, field, tell) or ""
            if not path:
                return None
            file = self.folder / path
            if not file.is_file():
                tell(
                    rule=f"names {ONE[self.media]} that is not there", field=field, value=path,
                    fix="copy the file to where the row says, or correct the path",
                )  # fmt: skip
                return None
            if file.stat().st_size > MOST_BYTES:
                tell(
                    rule=f"is larger than {MOST_BYTES // 2**20} MiB", field=field, value=path,
                    fix="cut it into smaller files",
                )  # fmt: skip
                return None
            data = file.read_bytes()

        def with_path(**problem: str) -> None:
            of = problem.get("value", "")
            told = ": ".join(part for part in (path, of) if part)
            tell(**{**problem, "value": told})

        if not data:
            with_path(rule="is a file of no bytes", field=field, fix="copy the file again")
            return None
        if not SOUND[self.media](data, field, with_path):
            return None
        address = self._address(path, data)
        return json.dumps(address), xxh3_128(data).hexdigest()

    def _inside(self, value: object) -> bytes | None:
        """Bytes that the row itself holds."""
        if isinstance(value, dict):
            value = value.get("bytes")
        return value if isinstance(value, bytes) else None

    def _path(self, value: object, field: str, tell: Tell) -> str | None:
        if isinstance(value, dict):  # The struct of the datasets library, without its bytes.
            value = value.get("path")
        if not isinstance(value, str) or not value.strip():
            tell(
                rule=f"must be the path of {ONE[self.media]}", field=field, value=shown(value),
                fix=PATH_FIX,
            )  # fmt: skip
            return None
        if not is_below(value):
            tell(
                rule="is no path below the data file's folder", field=field, value=value,
                fix=PATH_FIX,
            )  # fmt: skip
            return None
        return value

    def _address(self, path: str, data: bytes) -> list[str | int]:
        """File, first byte and number of bytes."""
        if path:
            return [str(self.folder / path), 0, len(data)]
        with self.kept.open("ab") as file:
            start = file.tell()
            file.write(data)
        return [str(self.kept), start, len(data)]


def read(address: str) -> bytes:
    """The bytes at an address that ``MediaFiles`` gave."""
    path, start, size = json.loads(address)
    with Path(path).open("rb") as file:
        file.seek(start)
        return file.read(size)


def class_of(path: str) -> str:
    """The class of a file in a folder for each class; empty when it stands in none."""
    return PurePosixPath(path).parent.name
