"""Rows of typed columns, as Parquet and Arrow files have them: only the columns that are needed.

A column has one type, so a wrong one is told once for the file. Rows count from 1.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.types as kinds

from finetune_api.learning import Media
from finetune_trainer.data.questions import ANSWERS_FIX, ANSWERS_RULE

Tell = Callable[..., None]
"""Tells a problem at a row of the file (0: the file itself): ``rule``, ``fix``, ``field``,
``value``."""

LISTS = {
    "messages": ("messages", "{role, content}"), "spans": ("spans", "{start, end, label}"),
    "tokens": ("words", "words"), "tags": ("tags", "tags"), "labels": ("labels", "labels"),
}  # fmt: skip
"""Roles whose column holds lists: of what, and how one is written."""
MEDIA = {str(media) for media in Media}
READ_ERRORS = (pa.ArrowException, OSError)


class ColumnFile(Protocol):
    """An open file of columns."""

    names: list[str]
    """All its columns."""

    def first(self, name: str) -> object:
        """The first value of a column; None when there is none that can be read."""
        ...

    def records(self, roles: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row number and values of every row. ``roles`` gives each column to read its role in
        ``spec.dataset.columns``."""
        ...


def fit(schema: pa.Schema, roles: Mapping[str, str], tell: Tell) -> bool:
    """Can all columns that are needed hold their roles? Each that cannot is told."""
    wrong = [_refused(name, role, schema.field(name), tell) for name, role in roles.items()]
    return not any(wrong)


def _refused(name: str, role: str, field: pa.Field, tell: Tell) -> bool:
    """Whether a column's type can never hold its role (told)."""
    kind = _plain(field.type)
    if role in LISTS:
        sound, rule = _is_list(kind), f"must be a list of {LISTS[role][0]}"
    elif role == "answers":
        sound, rule = _is_list(kind) or kinds.is_struct(kind), ANSWERS_RULE
    elif role in MEDIA:
        sound = _is_text(kind) or _is_binary(kind) or _is_struct_of_bytes(kind)
        rule = "must be bytes, the struct {bytes, path}, or a path"
    elif role == "judgement":
        sound = kinds.is_boolean(kind) or kinds.is_integer(kind) or _is_text(kind)
        rule = "must be true or false"
    elif role in ("label", "group"):
        sound, rule = _is_text(kind) or kinds.is_integer(kind), "must be text or a whole number"
    elif role == "number":
        sound, rule = kinds.is_floating(kind) or kinds.is_integer(kind), "must be a number"
    else:
        sound, rule = _is_text(kind), "must be text"
    if not (sound or kinds.is_null(kind)):
        value = f"the column is {field.type}"
        tell(0, rule=rule, fix=_fix(kind, role), field=name, value=value[:80])
        return True
    return False


def rows_of(batch: pa.RecordBatch, first: int, tell: Tell) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and values of the rows of a batch; ``first`` is the number of the first."""
    names = batch.schema.names
    try:
        columns = [column.to_pylist() for column in batch.columns]
    except UnicodeDecodeError:
        yield from _one_by_one(batch, first, tell)
        return
    for row, values in enumerate(zip(*columns, strict=True), first):
        yield row, dict(zip(names, values, strict=True))


def _one_by_one(
    batch: pa.RecordBatch, first: int, tell: Tell
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a batch in which some text is not UTF-8 (told, and left out)."""
    for number in range(batch.num_rows):
        record = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                record[name] = column[number].as_py()
            except UnicodeDecodeError as error:
                tell(
                    first + number, rule="is not UTF-8", field=name,
                    fix="write the column's text as UTF-8",
                    value=f"byte 0x{error.object[error.start]:02x}",
                )  # fmt: skip
        if len(record) == batch.num_columns:
            yield first + number, record


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, whatever encodes or names them."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return _plain(kind.value_type) if kinds.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def _is_list(kind: pa.DataType) -> bool:
    return kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)


def _is_struct_of_bytes(kind: pa.DataType) -> bool:
    names = [field.name for field in kind] if kinds.is_struct(kind) else []
    if "bytes" not in names:
        return False
    held = kind.field("bytes").type
    return _is_binary(held) or kinds.is_null(held)


def _fix(kind: pa.DataType, role: str) -> str:
    if role in LISTS:
        return f"write a list of {LISTS[role][1]} in every row"
    if role == "answers":
        return ANSWERS_FIX
    if role in MEDIA:
        return "write the file's bytes, as the datasets library does"
    if role == "number":
        return "cast the column to numbers, or set dataset.labels: Single for names of classes"
    if kinds.is_nested(kind):
        return "write one value a row: nested columns are not read"
    if _is_binary(kind):
        return "write the column as string, not as binary"
    if role == "label" and kinds.is_floating(kind):
        return "cast the column to whole numbers or text; fill or remove rows without a value"
    return "write the class name as text" if role == "label" else "write text in every row"
