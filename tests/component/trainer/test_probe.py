"""The linear probe: regularised as far as the data asks for, never surer than it may be."""

import math

import pytest


@pytest.fixture(scope="module")
def fitted(bench, cases, forkserver):
    """Results of `fit_probe` by kind of data."""
    kinds = ("clear", "noise", "rare")
    outcomes = bench.server.call(
        cases.fit_probe, [forkserver.Child({}, {"kind": kind}) for kind in kinds]
    )
    assert [outcome.code for outcome in outcomes] == [0] * 3, [o.output for o in outcomes]
    return {kind: outcome.value for kind, outcome in zip(kinds, outcomes, strict=True)}


@pytest.mark.parametrize("kind", ["clear", "noise", "rare"])
def test_strength_is_near_the_best_on_new_rows(fitted, kind):
    found = fitted[kind]
    assert found["loss"] <= min(found["fixed"]) * 1.1 + 0.01
    assert found["same"]
    assert found["beats"] >= 6


def test_data_that_tells_nothing_gives_no_confidence(fitted):
    found = fitted["noise"]
    assert found["loss"] == pytest.approx(math.log(3), abs=0.03)
    assert max(found["fixed"]) > 1.5


def test_data_that_tells_all_is_used(fitted):
    assert fitted["clear"]["accuracy"] == 1.0
    assert fitted["clear"]["loss"] < 0.05
