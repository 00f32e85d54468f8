"""Kubernetes quantities as numbers: `250m`, `4`, `16Gi`."""

import math

_FACTORS = {
    "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def parse(text: str | float) -> float:
    """The number a quantity stands for."""
    text = str(text)
    number = text.rstrip("".join(_FACTORS))
    return float(number) * _FACTORS[text[len(number) :]]


def divided(quantity: str, divisor: str | None) -> str:
    """A quantity in units of a divisor, rounded up, as the downward API tells it."""
    by = parse(divisor) if divisor and parse(divisor) else 1
    return str(math.ceil(parse(quantity) / by))
