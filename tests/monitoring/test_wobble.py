"""What windows differ by themselves, and how it is allowed for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.monitoring.distances import Distance
from hatchway.monitoring.wobble import NO_WOBBLE, Wobble, measure, probability, threshold

SIZES = st.integers(50, 100_000)
WOBBLES = st.builds(Wobble, st.floats(0, 0.3), st.one_of(st.integers(1, 200), st.just(math.inf)))


def ks(length: float, n: int = 1000, m: int = 20_000) -> Distance:
    return Distance("ks", length, length, length, n, m)


def chi2(length: float, n: int = 1000, m: int = 20_000) -> Distance:
    return Distance("chi2", length / 2, length, length, n, m, freedom=4)


def test_chance_alone_is_no_wobble() -> None:
    usual = math.sqrt(ks(0).chance_square)
    assert measure([ks(usual)] * 100, 99).size == pytest.approx(0, abs=1e-6)
    assert measure([ks(0.0)] * 100, 99) == Wobble(0.0, 99)


def test_what_is_beyond_chance_is_wobble() -> None:
    found = measure([ks(math.sqrt(0.05**2 + ks(0).chance_square))] * 100, 99)
    assert found.size == pytest.approx(0.05)


def test_one_window_that_differs_much_counts() -> None:
    """0.3 once in 150 windows: the mean square says 0.024, but another one is to be expected."""
    calm = [ks(math.sqrt(ks(0).chance_square))] * 149
    found = measure([*calm, ks(0.3)], 149)
    assert found.size == pytest.approx(0.09, abs=0.01)


def test_wobble_that_was_not_there_before_is_still_found() -> None:
    assert probability(ks(0.2), 0.2, Wobble(0.02, 150)) < 1e-4
    assert probability(ks(0.2), 0.2, Wobble(0.09, 150)) > 1e-3


@given(SIZES, SIZES, st.floats(0.001, 1), WOBBLES)
def test_wobble_only_ever_makes_a_distance_likelier(n: int, m: int, length: float, wobble: Wobble) -> None:
    for found in (ks(length, n, m), chi2(length, n, m)):
        alone = probability(found, length, NO_WOBBLE)
        assert alone == found.chance(length)
        assert probability(found, length, wobble) >= alone * (1 - 1e-9)


@given(SIZES, SIZES, WOBBLES, st.floats(1e-9, 1e-3))
def test_at_the_threshold_the_probability_is_small_enough(n: int, m: int, wobble: Wobble, level: float) -> None:
    for found in (ks(0.1, n, m), chi2(0.1, n, m)):
        length = 1.1 * threshold(found, wobble, level)  # the splits that `probability` tries are 1/16 apart
        assert probability(found, length, wobble) <= level
