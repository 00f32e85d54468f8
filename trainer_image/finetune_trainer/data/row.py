"""One example of a dataset, and when a text is sound."""

from collections.abc import Callable

import msgspec

from finetune_trainer.data.problems import shown

UTF8_FIX = "save the file as UTF-8"

Tell = Callable[..., None]
"""Tells a problem of the present record: ``rule``, ``fix``, ``field``, ``value``."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One example: ``content`` is what will be tokenised; ``asked`` is what a training row must
    not share with a held-out one; ``answer`` is its class or completion; ``labels`` names what a
    row holds any number of, each once and in order; ``group`` numbers the group it belongs to."""

    content: str
    asked: str
    answer: str
    labels: tuple[str, ...] = ()
    group: int = 0


def sound_text(value: object, field: str, tell: Tell) -> str | None:
    """The value when it is text that says something; None otherwise (told)."""
    is_said = isinstance(value, str) and value and not value.isspace()
    if is_said and (value.isascii() or encodable(value)):
        return value
    if not isinstance(value, str):
        tell(rule="must be text", fix="write text in every row", field=field, value=shown(value))
    elif not value or value.isspace():
        tell(rule="is empty", fix="remove rows without text or fill them", field=field)
    else:
        tell(rule="holds half of a surrogate pair", field=field, fix=UTF8_FIX, value=shown(value))
    return None


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold the text: half of a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
