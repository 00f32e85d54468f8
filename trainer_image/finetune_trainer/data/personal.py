"""Personal data and secrets in texts: patterns, each confirmed by its checksum or form where it has
one. A value never leaves this module: what is told is its kind and its outline.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OUTLINE = 24
"""Characters of an outline at most."""


@dataclass(frozen=True)
class Found:
    """One find: what it is, and its outline: `x` for letters, `0` for digits."""

    kind: str
    outline: str


def find(text: str) -> Iterator[Found]:
    """What a text holds, kind by kind."""
    for kind, (hint, pattern, confirmed) in PATTERNS.items():
        if not hint(text):
            continue
        for match in pattern.finditer(text):
            if confirmed(match[0]):
                yield Found(kind, outline(match[0]))


def outline(value: str) -> str:
    """A value with its letters and digits hidden."""
    hidden = re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", value))
    return hidden if len(hidden) <= OUTLINE else hidden[: OUTLINE - 1] + "…"


def _always(value: str) -> bool:
    return True


def _is_card(value: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", value)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _is_iban(value: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(value))


def _is_phone(value: str) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(value)))
    except phonenumbers.NumberParseException:
        return False


def _is_public(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False


def _has(*parts: str) -> Callable[[str], bool]:
    return lambda text: any(part in text for part in parts)


_FOUR_DIGITS = re.compile(r"\d{4}|\d[ -]\d")
SECRETS = (
    r"AKIA[0-9A-Z]{16}",  # Amazon access keys
    r"gh[opsru]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{50,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"[rs]k_live_[A-Za-z0-9]{20,}",  # Stripe
    r"sk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}",  # language models
    r"hf_[A-Za-z0-9]{30,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # JSON web tokens
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
)
_BEGINNINGS = (
    "AKIA", "gh", "glpat-", "xox", "AIza", "k_live_", "sk-", "hf_", "eyJ", "PRIVATE KEY",
)  # fmt: skip
PATTERNS: dict[str, tuple[Callable[[str], object], re.Pattern[str], Callable[[str], bool]]] = {
    "email": (
        _has("@"),
        re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[A-Za-z]{2,24}\b"),
        _always,
    ),
    "phone": (
        _has("+"),
        re.compile(r"\+\d[\d ().-]{6,18}\d(?!\d)"),
        _is_phone,
    ),
    "creditCard": (
        _FOUR_DIGITS.search,
        re.compile(
            r"(?<![\w.-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5})"
            r"(?![\w-]|\.\d)"
        ),
        _is_card,
    ),
    "iban": (
        _FOUR_DIGITS.search,
        re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
        _is_iban,
    ),
    "ipAddress": (
        _has(".", "::"),
        re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{1,4}(?::{1,2}[0-9a-f]{1,4}){2,7})(?![\w:]|\.\d)"),
        _is_public,
    ),
    "secret": (
        _has(*_BEGINNINGS),
        re.compile("|".join(rf"(?<!\w){one}" for one in SECRETS)),
        _always,
    ),
}  # fmt: skip
"""Of each kind: a quick hint that a text may hold one, its pattern, and what confirms it."""
