"""Where a module or weight stands among named modules."""

from collections.abc import Iterable


def is_inside(name: str, modules: Iterable[str]) -> bool:
    """Is ``name`` one of ``modules``, or part of one?"""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
