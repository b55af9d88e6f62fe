"""Which earlier traffic a window is compared with, and what is learnt from it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from hatchway.monitoring.baseline import (
    DAY_S,
    MIN_LEARNT,
    PERIOD_S,
    Traffic,
    Window,
    first_period,
    last_period,
    learn,
    pool,
    starts_to_compare,
)
from hatchway.monitoring.distances import Aspect
from hatchway.monitoring.drift import Rules
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import NO_WOBBLE, Wobble

HOUR_S = 3600.0
RULES = Rules()
SINCE_S = 1000 * DAY_S + 5 * HOUR_S


def hours(n: int, since_s: float = SINCE_S) -> list[float]:
    return [since_s + i * HOUR_S for i in range(n)]


def windows(days: int, daily: float, wander: float = 0.0, n: int = 400) -> list[Window]:
    """Hours whose mean follows the day by `daily`, and is off by `wander` at random."""
    rng = np.random.default_rng(7)
    made = []
    for start in hours(24 * days):
        sketch = FieldSketch()
        mean = daily * math.sin(2 * math.pi * start / DAY_S) + wander * rng.normal()
        sketch.update(rng.normal(mean, 1, size=n))
        made.append(Window(start, {"f": sketch}))
    return made


def traffic(starts_s: list[float]) -> Traffic:
    return Traffic(SINCE_S, starts_s, lambda _, __: ())


@pytest.mark.parametrize(
    ("n_windows", "age_s", "is_usable"),
    [
        pytest.param(3, 3 * HOUR_S, False, id="a few hours"),
        pytest.param(23, 23 * HOUR_S, False, id="not quite a day"),
        pytest.param(24, DAY_S, True, id="a day"),
        pytest.param(11, DAY_S, False, id="a day with little traffic"),
        pytest.param(12, 2 * DAY_S, True, id="as many windows as half a day has"),
        pytest.param(0, PERIOD_S, False, id="a week without traffic"),
    ],
)
def test_the_first_period_can_be_used_after_a_day(n_windows: int, age_s: float, is_usable: bool) -> None:
    found = first_period(traffic(hours(n_windows)), set(), SINCE_S + age_s, HOUR_S)
    assert (len(found.starts_s), found.is_usable) == (n_windows, is_usable)


def test_the_first_period_is_the_first_week_without_what_showed_drift() -> None:
    early = hours(10, SINCE_S - 10 * HOUR_S)
    found = first_period(traffic(early + hours(400)), {SINCE_S, SINCE_S + HOUR_S}, SINCE_S + 3 * PERIOD_S, HOUR_S)
    assert found.starts_s == tuple(hours(168)[2:])


def test_the_last_period_is_the_last_week_before_the_revision_was_replaced() -> None:
    found = last_period(traffic(hours(400)), SINCE_S + 300 * HOUR_S, HOUR_S)
    assert found.starts_s == tuple(hours(300)[-168:])
    assert found.is_usable
    assert not last_period(traffic(hours(11)), SINCE_S + 300 * HOUR_S, HOUR_S).is_usable


def test_a_window_is_compared_with_all_at_first_and_with_its_time_of_day_from_the_third_day() -> None:
    at = SINCE_S + 10 * DAY_S
    assert starts_to_compare(hours(71), at, HOUR_S) == hours(71)
    found = starts_to_compare(hours(72), at, HOUR_S)
    assert {(start - at) % DAY_S for start in found} == {0, HOUR_S, DAY_S - HOUR_S}
    assert len(found) == 9
    assert starts_to_compare(hours(168), at, DAY_S) == hours(168), "whole days have no time of day"
    assert starts_to_compare([], at, HOUR_S) == []


def test_a_pool_is_all_windows_together() -> None:
    assert pool(windows(1, 0))["f"].count == 24 * 400


def learnt(windows: list[Window], by_time: bool = True) -> Mapping[Aspect, Wobble]:
    return learn(windows, "f", RULES, by_time)


def test_less_than_a_day_teaches_nothing() -> None:
    assert learnt(windows(1, 0)[:-1]) == {}


def test_fields_without_a_rhythm_do_not_wobble() -> None:
    assert learnt(windows(3, 0))["values"].size < 0.03


def test_the_rhythm_of_a_day_is_wobble_until_it_is_known_by_time_of_day() -> None:
    by_day = learnt(windows(1, 0.5))["values"]
    by_time = learnt(windows(4, 0.5))["values"]
    assert by_day.size == pytest.approx(0.14, abs=0.03), "the root mean square of a sine of half a sigma"
    assert by_time.size < 0.05
    assert (by_day.freedom, by_time.freedom) == (23, 72)
    assert learnt(windows(4, 0.5), by_time=False)["values"].size == pytest.approx(0.14, abs=0.03)


def test_what_hours_wander_is_wobble_at_any_time_of_day() -> None:
    assert learnt(windows(4, 0, wander=0.3))["values"].size == pytest.approx(0.12, abs=0.03)


def test_aspects_that_never_vary_do_not_wobble() -> None:
    found = learnt(windows(1, 0))
    assert (found["missing"], found["types"]) == (NO_WOBBLE, NO_WOBBLE)


def test_windows_with_too_few_values_teach_nothing() -> None:
    assert learnt(windows(1, 0, n=MIN_LEARNT - 1)) == {}
