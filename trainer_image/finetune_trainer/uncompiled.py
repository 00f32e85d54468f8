"""Imports without torch's compiler.

Some libraries have it compile parts of themselves that no run here uses, or uses as they stand
where there is no compiler; that pulls in all of it: one to two seconds of each process's start and
50 to 100 MiB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def uncompiled() -> Iterator[None]:
    """What is imported here compiles nothing."""
    compiler = torch.compile
    torch.compile = _as_is
    try:
        yield
    finally:
        torch.compile = compiler


def _as_is(function: Any = None, **_: Any) -> Any:
    return function if function is not None else _as_is


def import_quantisation() -> None:
    """bitsandbytes, which PEFT imports whatever the method is. The kernels that it would compile
    are those for devices without their own, and it falls back to them as they stand."""
    with uncompiled():
        import bitsandbytes  # noqa: F401
