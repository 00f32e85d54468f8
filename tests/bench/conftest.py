"""Benchmarks use the e2e site. `make bench` prints what docs/benchmarks.md records."""

from tests.e2e.conftest import site

__all__ = ["site"]
