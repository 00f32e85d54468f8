"""Changed versions of training rows, after the split: no held-out row is changed or copied.

A version depends on the seed, its row and its number alone. Contents go to another Arrow file, with
a column that says how each row was changed.
"""

import json
import random
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from finetune_api.augmentation import TextAugmentation
from finetune_api.learning import LabelKind, Layout
from finetune_trainer.data import dedup
from finetune_trainer.data.gather import Gathered
from finetune_trainer.data.rows import DROPPED, Rows
from finetune_trainer.data.split import TRAIN
from finetune_trainer.data.wording import Rewording

KINDS = ("delete", "swap", "synonyms")
CHANGE = pa.field("augmentation", pa.string())
"""How a row was changed, as `delete 1, swap 2` (words); empty where it is as it was read."""


@dataclass
class Versions:
    """Changed rows of a batch: their contents, and how each was changed."""

    contents: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


class Augmenter:
    """Adds versions of the training rows."""

    def __init__(self, rows: Rows, settings: TextAugmentation, seed: int) -> None:
        self.rows, self.settings, self.seed = rows, settings, seed
        self._reword = Rewording(settings)
        self._text, self._with_text = _access(rows.gathered)
        self._origins = array("q")
        self._kinds = array("b")
        self._asked = bytearray()
        self._order: list[NDArray[np.int64]] = []
        self._unchanged = 0

    def augmented(self, arrow: Path) -> Rows:
        """The rows and their versions, with contents in ``arrow``."""
        schema = pa.schema([("content", pa.string()), CHANGE])
        gathered, start = self.rows.gathered, 0
        with (
            pa.OSFile(str(gathered.arrow), "rb") as source,
            pa.OSFile(str(arrow), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                contents = reader.get_batch(number).column(0)
                unchanged = pa.array([""] * len(contents), CHANGE.type)
                writer.write_batch(pa.record_batch([contents, unchanged], schema=schema))
                self._order.append(np.arange(start, start + len(contents)))
                for copy in range(self.settings.copies):
                    first = gathered.rows + len(self._origins)
                    made = self._versions(contents, start, copy)
                    if made.contents:
                        columns = [pa.array(made.contents), pa.array(made.changes)]
                        writer.write_batch(pa.record_batch(columns, schema=schema))
                        self._order.append(np.arange(first, first + len(made.contents)))
                start += len(contents)
        return self._numbered(arrow)

    def _versions(self, contents: pa.Array, start: int, copy: int) -> Versions:
        """One version of each training row of a batch that the change does change."""
        made = Versions()
        parts = self.rows.parts[start : start + len(contents)]
        for row in np.flatnonzero(parts == TRAIN).tolist():
            content = contents[row].as_py()
            text = self._text(content)
            rng = random.Random(f"{self.seed} {copy} {text}")  # noqa: S311
            other, counts = self._reword.changed(text, rng)
            if other == text:
                self._unchanged += 1
                continue
            made.contents.append(self._with_text(content, other))
            made.changes.append(_told(counts))
            self._origins.append(start + row)
            self._kinds.append(sum(1 << n for n, kind in enumerate(KINDS) if counts[kind]))
            self._asked += xxh3_128_digest(other.encode())
        return made

    def _numbered(self, arrow: Path) -> Rows:
        """Rows and versions in the file's order; a version that says what another training or
        held-out row says is dropped."""
        gathered, read = self.rows.gathered, self.rows.gathered.rows
        origins = np.frombuffer(self._origins, np.int64)
        # Rows before versions, so that of two equal texts it is the version that goes.
        asked = np.concatenate([gathered.asked, np.frombuffer(bytes(self._asked), "V16")])
        parts = np.concatenate([self.rows.parts, np.full(len(origins), TRAIN, np.int8)])
        leaks = dedup.leaking(asked, parts)
        parts[leaks] = DROPPED
        of_train = np.flatnonzero(parts == TRAIN)
        twice = of_train[dedup.repeated(asked[of_train])]
        twice = twice[twice >= read]
        parts[twice] = DROPPED
        order = np.concatenate(self._order)
        origin_of = np.concatenate([np.arange(read), origins])[order]
        groups = gathered.groups.of_rows(origin_of) if gathered.groups is not None else None
        kinds = np.frombuffer(self._kinds, np.int8)[parts[read:] == TRAIN]
        counts = {kind: int((kinds >> n & 1).sum()) for n, kind in enumerate(KINDS)}
        left_out = {
            "unchanged": self._unchanged, "duplicate": len(twice), "alsoHeldOut": int(leaks.sum()),
        }  # fmt: skip
        return replace(
            self.rows,
            gathered=replace(
                gathered, arrow=arrow, label_ids=gathered.label_ids[origin_of], groups=groups
            ),
            parts=parts[order],
            augmented={"rows": len(kinds), "changed": counts, "leftOut": left_out},
        )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {counts[kind]}" for kind in KINDS if counts[kind])


def _access(gathered: Gathered) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
    """What takes the text out of a content, and what puts another in."""

    def written(document: object) -> str:
        return json.dumps(document, ensure_ascii=False)

    if gathered.layout is Layout.SOURCE_TARGET:
        return (
            lambda content: str(json.loads(content)[0]),
            lambda content, text: written([text, json.loads(content)[1]]),
        )
    if gathered.kind in (LabelKind.MULTI, LabelKind.NUMBER):
        return (
            lambda content: str(json.loads(content)["text"]),
            lambda content, text: written(json.loads(content) | {"text": text}),
        )
    return lambda content: content, lambda _, text: text
