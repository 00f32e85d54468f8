"""Rows of one JSON document: an array of objects, or an object that holds one such array.

Read a piece at a time, so that memory holds one row and not the file. The standard parser does the
parsing: it tells line and column, and keeps halves of surrogate pairs, which others replace.
"""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_trainer.data.columns import Tell
from finetune_trainer.data.problems import shown
from finetune_trainer.data.row import UTF8_FIX

PIECE = 1024 * 1024
LARGEST_ROW = 64 * 1024 * 1024
"""Characters of one row; a missing quote must not read a whole file into memory."""
SPACE = " \t\r\n"
NEAR_END = 16
"""Characters before the end of what was read within which a fault may be for want of the rest."""
FIX = "write an array of objects: [{…}, {…}]"


class BrokenError(Exception):
    """The document cannot be read further; what is wrong, with line and column."""

    def __init__(self, rule: str, fix: str, value: str) -> None:
        super().__init__(rule)
        self.rule, self.fix, self.value = rule, fix, value


class JsonRows:
    """The rows of a file, numbered from 1."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        self._row = 0
        self._repeated = ""
        self._list = ""
        self._gave_up = False

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and values of every row that could be read."""
        with self._path.open("rb") as file:
            text = _Text(file, json.JSONDecoder(object_pairs_hook=self._object))
            try:
                yield from self._document(text)
                if not self._gave_up and (text.peek() or text.stray):
                    raise text.broken("goes on after the end of the JSON document")
            except BrokenError as error:
                row = self._row + bool(self._row or self._list)
                self._tell(row, rule=error.rule, fix=error.fix, value=error.value)

    def _document(self, text: "_Text") -> Iterator[tuple[int, dict[str, Any]]]:
        opening = text.peek()
        if opening == "[":
            yield from self._elements(text)
            return
        if opening != "{":
            raise text.broken("is not valid JSON", "Expecting value")
        text.skip("{")
        is_first = True
        while text.peek() != "}":
            if not is_first:
                text.skip(",")
            is_first = False
            name = text.value()
            text.skip(":")
            if text.opens_rows():
                if self._list:
                    self._tell(
                        0, rule="holds more than one list of rows", fix="keep one of them",
                        value=f"{self._list}, {name}",
                    )  # fmt: skip
                    self._gave_up = True
                    return
                self._list = str(name)
                yield from self._elements(text)
            else:
                text.value()
        text.skip("}")
        if not self._list:
            self._tell(0, rule="holds no list of rows", fix=FIX)
            self._gave_up = True

    def _elements(self, text: "_Text") -> Iterator[tuple[int, dict[str, Any]]]:
        text.skip("[")
        while text.peek() != "]":
            if self._row:
                text.skip(",")
            self._repeated = ""
            record = text.value()
            self._row += 1
            if self._repeated:
                self._tell(
                    self._row, rule="stands twice in the row", field=self._repeated,
                    fix="give each column its own name",
                )  # fmt: skip
            elif isinstance(record, dict):
                yield self._row, record
            else:
                self._tell(self._row, rule="is not a JSON object", fix=FIX, value=shown(record))
        text.skip("]")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            self._repeated = next(name for name in names if names.count(name) > 1)
        return found


class _Text:
    """The characters of a file from the present place on, as far as they were read.

    ``stray`` is the byte that is not UTF-8, with which the text ends for us.
    """

    def __init__(self, file: Any, decoder: json.JSONDecoder) -> None:
        self._file, self._decoder = file, decoder
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer, self._at, self._ended = "", 0, False
        self._lines, self._column = 0, 0
        self.stray = ""

    def peek(self) -> str:
        """Go to the next character that is no space, and return it; empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._buffer) or not self._more():
                return self._buffer[self._at : self._at + 1]

    def opens_rows(self) -> bool:
        """Does an array follow whose first element is an object?"""
        if self.peek() != "[":
            return False
        after = 1
        while True:
            while self._at + after == len(self._buffer) and self._more():
                pass
            if self._buffer[self._at + after : self._at + after + 1] not in tuple(SPACE):
                return self._buffer[self._at + after : self._at + after + 1] == "{"
            after += 1

    def skip(self, character: str) -> None:
        """Go past the next character; BrokenError when it is another."""
        if self.peek() != character:
            raise self.broken("is not valid JSON", f"Expecting {character!r}")
        self._at += 1

    def value(self) -> Any:
        """Go past the next value, and return it."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                unfinished = error.pos >= len(self._buffer) - NEAR_END or "Unterm" in error.msg
                if unfinished and len(self._buffer) - self._at < LARGEST_ROW and self._more():
                    continue
                self._at = len(self._buffer) if unfinished and self.stray else error.pos
                raise self.broken("is not valid JSON", error.msg.removesuffix(" at")) from None
            except RecursionError:
                raise self.broken("is not valid JSON", "nested too deeply") from None
            if end == len(self._buffer) and self._more():
                continue
            self._at = end
            return found

    def broken(self, rule: str, what: str = "") -> BrokenError:
        """The error at the present place."""
        before = self._buffer[: self._at]
        line = 1 + self._lines + before.count("\n")
        column = len(before) - before.rfind("\n") + (0 if "\n" in before else self._column)
        place = f"line {line}, column {column}"
        if self.stray and self._at == len(self._buffer):
            return BrokenError("is not UTF-8", UTF8_FIX, f"byte {self.stray} at {place}")
        return BrokenError(rule, FIX, f"{what} at {place}" if what else place)

    def _more(self) -> bool:
        """Read on; False at the end. What was gone past is forgotten."""
        if self._ended:
            return False
        gone, kept = self._buffer[: self._at], self._buffer[self._at :]
        self._lines += gone.count("\n")
        self._column = len(gone) - gone.rfind("\n") - 1 + (0 if "\n" in gone else self._column)
        piece = self._file.read(max(PIECE, len(kept)))
        self._ended = not piece
        try:
            text = self._decode.decode(piece, final=self._ended)
        except UnicodeDecodeError as error:
            text, self._ended = error.object[: error.start].decode(), True
            self.stray = f"0x{error.object[error.start]:02x}"
        self._buffer, self._at = kept + text, 0
        return True
