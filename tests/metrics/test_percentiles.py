"""Percentiles out of buckets."""

from __future__ import annotations

import random

import pytest

from hatchway.gateway.served import BOUNDS_S
from hatchway.metrics.percentiles import percentile


@pytest.mark.parametrize(
    ("ratio", "cumulated", "expected"),
    [
        (0.5, (), None),
        (0.5, (0, 0, 0), None),
        (0.5, (10, 10, 10), 0.5),  # half of the first bucket, which begins at 0
        (1.0, (10, 10, 10), 1.0),
        (0.5, (0, 10, 10), 1.5),
        (0.95, (0, 0, 10), 2.0),  # above all bounds
    ],
)
def test_values_are_spread_evenly_over_a_bucket(
    ratio: float, cumulated: tuple[int, ...], expected: float | None
) -> None:
    assert percentile(ratio, (1.0, 2.0), cumulated) == expected


def test_the_bounds_are_fine_enough_for_a_tenth() -> None:
    chance = random.Random(5)
    values = sorted(chance.lognormvariate(-4, 1) for _ in range(20_000))
    cumulated = [sum(value <= bound for value in values) for bound in (*BOUNDS_S, 1e9)]
    for ratio in (0.5, 0.95, 0.99):
        assert percentile(ratio, BOUNDS_S, cumulated) == pytest.approx(values[int(ratio * len(values))], rel=0.1)
