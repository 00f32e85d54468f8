"""The form of a cross-field rule: CEL for the API server, a Python predicate, one message."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One rule. ``scope`` is the path of the schema node whose value is ``self``; a rule of the
    whole object is about its name, and ``holds`` is given the metadata alone."""

    scope: str
    cel: str
    message: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class TransitionRule:
    """A rule about updates; ``holds(old, new)`` sees both specifications."""

    scope: str
    cel: str
    message: str
    holds: Callable[[Any, Any], bool]
