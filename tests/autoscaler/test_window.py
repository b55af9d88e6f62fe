"""Averages over buckets of time, and the highest value of a period."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.autoscaler.window import MAX_BUCKETS, MAX_PEAKS, Averages, Maxima, to_ms
from tests.autoscaler.story import steady

WINDOW_MS = 30_000


def averages(*samples: tuple[int, float], window_ms: int = WINDOW_MS) -> Averages:
    found = Averages()
    for at_ms, value in samples:
        found = found.add(value, at_ms, window_ms)
    return found


def maxima(*values: tuple[int, int], period_ms: int) -> Maxima:
    found = Maxima()
    for at_ms, value in values:
        found = found.add(value, at_ms, period_ms)
    return found


@pytest.mark.parametrize(
    ("samples", "now_ms", "span_ms", "expected"),
    [
        pytest.param([], 0, WINDOW_MS, None, id="nothing seen is not zero"),
        pytest.param([(0, 4)], 0, WINDOW_MS, 4, id="one sample is the average of what there is"),
        pytest.param([(0, 4), (1000, 8)], 1000, WINDOW_MS, 6, id="each second counts the same"),
        pytest.param([(0, 4), (1000, 8)], 1000, 1000, 8, id="the last second"),
        pytest.param([(0, 4), (1000, 8)], 31_000, WINDOW_MS, None, id="all too old"),
        pytest.param([(0, 4), (1000, 8)], 30_000, WINDOW_MS, 8, id="what is as old as the window is out"),
        pytest.param([(0, 4), (20_000, 8)], 20_000, WINDOW_MS, 6, id="seconds without a sample do not count"),
        pytest.param([(0, 4), (10, 6), (20, 8), (1000, 0)], 1000, WINDOW_MS, 3, id="many looks in one second are one"),
        pytest.param([(0, 2), (1999, 4), (2001, 6)], 2001, WINDOW_MS, 4, id="late and early ticks"),
        pytest.param([(0, 2), (1000, 4)], 1300, 100, 4, id="no span is shorter than a tick"),
    ],
)
def test_an_average(samples: list[tuple[int, float]], now_ms: int, span_ms: int, expected: float | None) -> None:
    assert averages(*samples).over(span_ms, now_ms) == expected


def test_a_window_of_hours_needs_no_more_room_than_one_of_seconds() -> None:
    hours_ms = 6 * 3600 * 1000
    found = averages(*((second * 1000, second) for second in range(0, 8 * 3600, 7)), window_ms=hours_ms)
    assert len(found.buckets) <= MAX_BUCKETS + 1
    middle = (2 + 8) / 2 * 3600  # of the last six of eight hours
    assert found.over(hours_ms, 8 * 3600 * 1000) == pytest.approx(middle, rel=0.02)


def test_a_window_that_is_edited_keeps_its_samples_and_their_weight() -> None:
    short = averages(*((second * 1000, 10) for second in range(30)))
    longer = short
    for second in range(30, 330):
        longer = longer.add(0, second * 1000, 600_000)
    assert longer.over(600_000, 329_000) == pytest.approx(10 * 30 / 330, rel=0.05)
    assert longer.add(5, 330_000, WINDOW_MS).over(1000, 330_000) == 5


@steady
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 50)), min_size=1), st.integers(-(10**9), 10**9))
def test_an_average_lies_between_its_samples_on_any_clock(steps: list[tuple[int, int]], origin_ms: int) -> None:
    now_ms, samples = 0, []
    for step_ms, value in steps:
        now_ms += step_ms
        samples.append((now_ms, value))
    average = averages(*samples).over(WINDOW_MS, now_ms)
    assert average is not None
    recent = [value for at_ms, value in samples if at_ms > now_ms - WINDOW_MS]
    assert min(recent) <= average <= max(recent)
    moved = averages(*((at_ms + origin_ms, value) for at_ms, value in samples))
    assert moved.over(WINDOW_MS, now_ms + origin_ms) == average


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([(0, 3)], 3, id="one"),
        pytest.param([(0, 3), (2000, 5)], 5, id="a higher one replaces"),
        pytest.param([(0, 5), (2000, 3)], 5, id="a lower one waits"),
        pytest.param([(0, 5), (2000, 3), (10_000, 1)], 3, id="what is as old as the period is out"),
        pytest.param([(0, 5), (2000, 5), (10_000, 1)], 5, id="the last time it was that high counts"),
        pytest.param([(0, -5), (2000, -3), (4000, -7)], -3, id="the lowest is the highest of the negative"),
    ],
)
def test_the_highest_of_ten_seconds(values: list[tuple[int, int]], expected: int) -> None:
    assert maxima(*values, period_ms=10_000).highest.value == expected


def test_a_period_of_zero_remembers_the_last_value_only() -> None:
    assert maxima((0, 9), (1, 2), period_ms=0).highest.value == 2


def test_when_a_value_was_last_reached() -> None:
    found = maxima((0, 9), (2000, 5), (4000, 2), period_ms=60_000)
    assert found.youngest_from(5) == (2000, 5)
    assert found.youngest_from(10) is None


def test_steady_values_need_one_entry() -> None:
    assert len(maxima(*((second * 1000, 7) for second in range(300)), period_ms=300_000).peaks) == 1


@pytest.mark.parametrize("period_s", [0, 1, 300, 3600, 86_400])
def test_values_that_fall_for_ever_need_a_bounded_number_of_entries(period_s: int) -> None:
    falling = ((second * 1000, 100_000 - second) for second in range(20_000))
    assert len(maxima(*falling, period_ms=period_s * 1000).peaks) <= MAX_PEAKS + 1


@steady
@given(st.lists(st.tuples(st.integers(1000, 5000), st.integers(0, 9)), min_size=1), st.integers(0, 60_000))
def test_ticks_apart_the_highest_is_exact(steps: list[tuple[int, int]], period_ms: int) -> None:
    now_ms, values = 0, []
    for step_ms, value in steps:
        now_ms += step_ms
        values.append((now_ms, value))
    recent = [value for at_ms, value in values if at_ms > now_ms - period_ms]
    assert maxima(*values, period_ms=period_ms).highest.value == max(recent, default=values[-1][1])


@steady
@given(st.integers(-(10**9), 10**9), st.integers(0, 10**9))
def test_ages_mean_the_same_on_another_clock(origin_ms: int, later_ms: int) -> None:
    seen = averages((0, 4), (1000, 8), (2500, 1))
    left = json.loads(json.dumps(seen.to_ages(3000)))
    read = Averages.from_ages(left["width_ms"], left["buckets"], origin_ms)
    assert read.over(WINDOW_MS, origin_ms + later_ms) == seen.over(WINDOW_MS, 3000 + later_ms)
    highest = maxima((0, 9), (2000, 5), period_ms=10_000)
    assert Maxima.from_ages(json.loads(json.dumps(highest.to_ages(3000))), 3000) == highest


def test_seconds_become_whole_milliseconds() -> None:
    assert [to_ms(seconds) for seconds in (0.0, 1.0004, 0.1 + 0.2)] == [0, 1000, 300]
