"""The arithmetic of an update: both limits hold after every step, and every update ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.controller.rollout import Counts, Limits, Moment, Step, fullest, limits, next_step
from hatchway.spec.api import UpdateStrategy


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", 0, 1, Limits(1, 0)),
        ("25%", 0, 4, Limits(1, 0)),
        ("25%", 0, 5, Limits(2, 0)),
        ("25%", "25%", 4, Limits(1, 1)),
        ("25%", "25%", 3, Limits(1, 0)),
        (0, 1, 1, Limits(0, 1)),
        ("0%", "25%", 2, Limits(1, 0)),  # both round to zero: nothing could ever move, so one may surge
        (3, 9, 2, Limits(3, 2)),
    ],
)
def test_percentages_round_surge_up_and_unavailable_down(
    surge: int | str, unavailable: int | str, replicas: int, expected: Limits
) -> None:
    assert limits(UpdateStrategy(max_surge=surge, max_unavailable=unavailable), replicas) == expected


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        (1, Limits(1, 0)),
        (2, Limits(1, 0)),
        (3, Limits(1, 0)),
        (4, Limits(1, 1)),
        (5, Limits(2, 1)),
        (7, Limits(2, 1)),
        (8, Limits(2, 2)),
        (9, Limits(3, 2)),
        (100, Limits(25, 25)),
    ],
)
def test_with_the_settings_of_cortex_the_limits_are_those_of_cortex(replicas: int, expected: Limits) -> None:
    """Its defaults: 25 % of both."""
    assert limits(UpdateStrategy(max_surge="25%", max_unavailable="25%"), replicas) == expected


@given(percent=st.integers(0, 100), replicas=st.integers(1, 1000))
def test_rounding_is_exact(percent: int, replicas: int) -> None:
    """Reckoned in whole hundredths, since 0.07 * 100 is not 7 in floating point."""
    found = limits(UpdateStrategy(max_surge=f"{percent}%", max_unavailable="100%"), replicas)
    assert found == Limits(-(-percent * replicas // 100), replicas)
    found = limits(UpdateStrategy(max_surge=1, max_unavailable=f"{percent}%"), replicas)
    assert found == Limits(1, percent * replicas // 100)


@pytest.mark.parametrize(
    ("old_ready", "replicas", "allowed", "expected"),
    [
        pytest.param(1, 1, Limits(1, 0), (Moment(1, 1), Moment(1, 1)), id="one and one"),
        pytest.param(4, 4, Limits(1, 0), (Moment(4, 1), Moment(1, 4)), id="one more than either side has"),
        pytest.param(4, 4, Limits(2, 0), (Moment(4, 1), Moment(1, 4)), id="it may surge more and need not"),
        pytest.param(1, 1, Limits(1, 1), (), id="an old one may stop first"),
        pytest.param(0, 2, Limits(1, 0), (), id="nobody serves"),
    ],
)
def test_the_fullest_moments_of_an_update(
    old_ready: int, replicas: int, allowed: Limits, expected: tuple[Moment, ...]
) -> None:
    assert fullest(old_ready, replicas, allowed) == expected


@pytest.mark.parametrize(
    ("counts", "replicas", "allowed", "expected"),
    [
        pytest.param(Counts(0, 0, 0, 0), 2, Limits(1, 0), Step(2, 0), id="first deploy starts all at once"),
        pytest.param(Counts(0, 0, 1, 1), 1, Limits(1, 0), Step(1, 0), id="the new one starts before the old stops"),
        pytest.param(Counts(1, 0, 1, 1), 1, Limits(1, 0), Step(1, 0), id="a new one that is not ready moves nothing"),
        pytest.param(Counts(1, 1, 1, 1), 1, Limits(1, 0), Step(1, 1), id="once it is ready the old one goes"),
        pytest.param(Counts(0, 0, 4, 4), 4, Limits(1, 0), Step(1, 0), id="one surge replica at a time"),
        pytest.param(Counts(0, 0, 1, 1), 1, Limits(0, 1), Step(1, 1), id="without surge the old one goes first"),
        pytest.param(Counts(0, 0, 2, 0), 2, Limits(1, 0), Step(2, 0), id="old ones that serve nobody do not count"),
        pytest.param(Counts(2, 2, 0, 0), 0, Limits(1, 0), Step(0, 0), id="stopped"),
    ],
)
def test_the_next_step(counts: Counts, replicas: int, allowed: Limits, expected: Step) -> None:
    assert next_step(counts, replicas, allowed) == expected


@given(
    replicas=st.integers(1, 20),
    surge=st.integers(0, 5),
    unavailable=st.integers(0, 20),
    old=st.integers(0, 25),
)
def test_an_update_keeps_both_limits_at_every_step_and_ends(
    replicas: int, surge: int, unavailable: int, old: int
) -> None:
    allowed = limits(UpdateStrategy(max_surge=surge, max_unavailable=unavailable or 1), replicas)
    new = 0
    for _ in range(2 * (replicas + old) + 2):
        step = next_step(Counts(new, new, old, old), replicas, allowed)
        assert new + old - step.drain_ready >= min(new + old, replicas - allowed.unavailable)
        old -= step.drain_ready
        assert step.new + old <= max(replicas + allowed.surge, old)
        assert next_step(Counts(new, new, old, old), replicas, allowed).drain_ready == 0
        new = max(new, step.new)
    assert (new, old) == (replicas, 0)
