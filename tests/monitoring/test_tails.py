"""Probabilities by SciPy, which the tests have and Hatchway does without."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hatchway.monitoring import tails
from hatchway.monitoring.distances import Distance


@given(st.floats(0, 8))
def test_kolmogorov(scaled: float) -> None:
    assert tails.kolmogorov(scaled) == pytest.approx(float(stats.kstwobign.sf(scaled)), rel=1e-9, abs=1e-13)


@given(st.floats(0, 400), st.integers(1, 120))
def test_chi_square(statistic: float, freedom: int) -> None:
    assert tails.chi_square(statistic, freedom) == pytest.approx(float(stats.chi2.sf(statistic, freedom)), rel=1e-9)


@given(st.floats(0, 200), st.one_of(st.integers(1, 500), st.just(math.inf)))
def test_student(t: float, freedom: float) -> None:
    expected = 2 * float(stats.norm.sf(t) if math.isinf(freedom) else stats.t.sf(t, freedom))
    assert tails.student(t, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-290)


@given(st.floats(1e-12, 0.5))
def test_an_inverse_is_the_least_statistic_with_that_tail(probability: float) -> None:
    assert tails.inverse(tails.kolmogorov, probability) == pytest.approx(
        float(stats.kstwobign.isf(probability)), rel=1e-5
    )


def test_small_samples_are_judged_as_the_exact_distribution_says() -> None:
    """Stephens' correction, beside the exact one for 60 and 80 values."""
    for length in (0.2, 0.3, 0.4):
        found = Distance("ks", length, length, length, 60, 80)
        exact = float(stats.kstwo.sf(length, round(found.pairs)))
        assert found.chance(length) == pytest.approx(exact, rel=0.25)
