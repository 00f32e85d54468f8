"""What a row's content says, without the notation it is kept in."""

import msgspec

_DECODE = msgspec.json.Decoder().decode
SAYING = ("text", "content")
"""Fields of an object that hold its text."""


def said(content: str) -> str:
    """All texts of a content, one after the other; a plain text is its own."""
    if not content.startswith(("[", "{")):
        return content
    try:
        found = _DECODE(content)
    except msgspec.DecodeError:
        return content
    return "\n".join(_texts(found)) or content


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, dict):
        return next((_texts(value[name]) for name in SAYING if name in value), [])
    return []
