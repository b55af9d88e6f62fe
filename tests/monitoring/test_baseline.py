"""Which earlier traffic a window is compared with, and what is learnt from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hatchway.monitoring.baseline import (
    DAY_S,
    PERIOD_S,
    Period,
    Window,
    choose,
    first_period,
    learn,
    pool,
    starts_to_compare,
)
from hatchway.monitoring.drift import Rules
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import NO_WOBBLE

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


@pytest.mark.parametrize(
    ("n_clean", "age_s", "is_usable", "is_frozen"),
    [
        pytest.param(3, 3 * HOUR_S, False, False, id="a few hours"),
        pytest.param(24, DAY_S, True, False, id="a day"),
        pytest.param(11, DAY_S, False, False, id="a day with little traffic"),
        pytest.param(12, 2 * DAY_S, True, False, id="as many windows as half a day has"),
        pytest.param(168, PERIOD_S, True, True, id="a week"),
        pytest.param(0, PERIOD_S, False, True, id="a week without traffic"),
    ],
)
def test_the_first_period_can_be_used_after_a_day_and_is_frozen_after_a_week(
    n_clean: int, age_s: float, is_usable: bool, is_frozen: bool
) -> None:
    found = first_period(hours(n_clean), SINCE_S, SINCE_S + age_s, HOUR_S)
    assert (len(found.starts_s), found.is_usable, found.is_frozen) == (n_clean, is_usable, is_frozen)


def test_the_first_period_has_nothing_from_before_or_after_it() -> None:
    found = first_period(hours(400, SINCE_S - 10 * HOUR_S), SINCE_S, SINCE_S + 3 * PERIOD_S, HOUR_S)
    assert (found.starts_s[0], len(found.starts_s)) == (SINCE_S, 168)


def test_data_is_preferred_then_the_own_first_period_then_that_of_the_revision_before() -> None:
    usable, young = Period((1.0,), True, False), Period((), False, False)
    assert choose(True, usable, usable) == "data"
    assert choose(False, usable, usable) == "first_period"
    assert choose(False, young, usable) == "previous_revision"
    assert choose(False, young, young) is None
    assert choose(False, young, None) is None


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


def test_less_than_a_day_teaches_nothing() -> None:
    assert learn(windows(1, 0)[:-1], RULES) == {}


def test_fields_without_a_rhythm_do_not_wobble() -> None:
    assert learn(windows(3, 0), RULES)["f"]["values"].size < 0.03


def test_the_rhythm_of_a_day_is_wobble_until_it_is_known_by_time_of_day() -> None:
    by_day = learn(windows(1, 0.5), RULES)["f"]["values"]
    by_time = learn(windows(4, 0.5), RULES)["f"]["values"]
    assert by_day.size == pytest.approx(0.14, abs=0.03), "the root mean square of a sine of half a sigma"
    assert by_time.size < 0.05
    assert (by_day.freedom, by_time.freedom) == (23, 72)
    assert learn(windows(4, 0.5), RULES, by_time=False)["f"]["values"].size == pytest.approx(0.14, abs=0.03)


def test_what_hours_wander_is_wobble_at_any_time_of_day() -> None:
    assert learn(windows(4, 0, wander=0.3), RULES)["f"]["values"].size == pytest.approx(0.12, abs=0.03)


def test_aspects_that_never_vary_do_not_wobble() -> None:
    found = learn(windows(1, 0), RULES)["f"]
    assert (found["missing"], found["types"]) == (NO_WOBBLE, NO_WOBBLE)


def test_windows_with_too_few_values_teach_nothing() -> None:
    assert learn(windows(1, 0, n=RULES.min_samples - 1), RULES)["f"] == {}
