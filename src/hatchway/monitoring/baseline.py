"""What current values are compared with, when it is not training data: windows of earlier traffic. Pure.

Three sources, the first that there is: training data given at deploy (`training_data.py`); the first clean period of
the revision; until that is there, the last week of the revision before. Which of them, and what somebody's word that a
change is the new normal does to that: `periods.py`.

The first clean period is the traffic of a revision's first week, without the windows that showed drift. It can be used
after its first day, because every day has its hours, and is frozen after a week, because every week has its days: a
change that creeps in later is measured against what the revision began with.

From the third day on a window is compared with those of the same time of day, an hour more or less, so that the rhythm
of a day is no drift. Before, and against training data, which has no time of day, it is compared with all; the rhythm
then counts as wobble, and hides changes smaller than itself, unless whole days are compared (`judging.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from hatchway.monitoring.distances import Aspect, Distance, between, to_the_rest
from hatchway.monitoring.drift import ASPECTS, Rules
from hatchway.monitoring.sketches import FieldSketch, merged
from hatchway.monitoring.wobble import NO_WOBBLE, Wobble, measure

DAY_S = 86400
PERIOD_S = 7 * DAY_S
MIN_DAYS_BY_TIME = 3  # fewer, and the same hour of other days says too little of how days differ
MIN_LEARNT = 10  # values of a window; what is chance in so few is known, and a day of such windows is judged as one
NEAR_S = 3600  # an hour more or less: summer time, and people are no clocks

Source = Literal["data", "first_period", "previous_revision", "accepted"]


class Window(NamedTuple):
    """The fields of one window of a revision's traffic. Starts are multiples of the window's length since 1970."""

    start_s: float
    fields: Mapping[str, FieldSketch]


@dataclass(frozen=True)
class Traffic:
    """The windows of one revision that are over and had requests.

    `load` reads windows, all their fields or the one that is named, one after the other: a week of 50 fields is 80 MB.
    Those of the first week are to be kept for as long as the revision is watched: they are the baseline.
    """

    since_s: float  # from then on all requests of the API were this revision's
    starts_s: Sequence[float]
    load: Callable[[Sequence[float], str | None], Iterable[Window]]


class Period(NamedTuple):
    """The windows that are a baseline. `is_usable`: there is as much traffic as half a day of windows."""

    starts_s: tuple[float, ...]
    is_usable: bool


def first_period(traffic: Traffic, unclean_s: Collection[float], now_s: float, window_s: float) -> Period:
    """The first clean period of a revision. `unclean_s`: windows that showed drift, or are judged now."""
    starts = _within(traffic, traffic.since_s, traffic.since_s + PERIOD_S)
    clean = tuple(start for start in starts if start not in unclean_s)
    return Period(clean, now_s - traffic.since_s >= DAY_S and _is_enough(clean, window_s))


def last_period(traffic: Traffic, until_s: float, window_s: float) -> Period:
    """The last week of a revision that another one replaced at `until_s`."""
    starts = _within(traffic, max(traffic.since_s, until_s - PERIOD_S), until_s)
    return Period(starts, _is_enough(starts, window_s))


def starts_to_compare(starts_s: Sequence[float], at_s: float, window_s: float) -> list[float]:
    """Which windows of the baseline's period one that starts at `at_s` is compared with."""
    if not _has_days(starts_s, window_s):
        return list(starts_s)
    return [start for start in starts_s if _is_near(start, at_s)]


def pool(windows: Iterable[Window]) -> dict[str, FieldSketch]:
    """All windows as one."""
    found: dict[str, FieldSketch] = {}
    for window in windows:
        for name, sketch in window.fields.items():
            found.setdefault(name, FieldSketch()).merge(sketch)
    return found


def learn(windows: Iterable[Window], name: str, rules: Rules, by_time: bool = True) -> dict[Aspect, Wobble]:
    """How much a field wobbles in a period without drift; nothing if that is less than a day.

    `by_time`: among windows of the same time of day, where there are days enough, as they will be compared; for
    training data as the baseline that is False.
    """
    sketches = {window.start_s: window.fields[name] for window in windows if name in window.fields}
    starts = sorted(sketches)
    if len(starts) * rules.window_s < DAY_S:
        return {}
    by_time = by_time and _has_days(starts, rules.window_s)
    times = {start % DAY_S for start in starts} if by_time else {None}
    wholes = {time: merged(sketches[start] for start in starts if _is_near(start, time)) for time in times}
    judged = [start for start in starts if sketches[start].present >= MIN_LEARNT]
    freedom = len(judged) - len(wholes)
    if freedom < 1:
        return {}
    found: dict[Aspect, Wobble] = {}
    for aspect in ASPECTS:
        distances = [
            distance
            for start in judged
            if (distance := _to_the_rest(aspect, sketches[start], wholes[start % DAY_S if by_time else None]))
        ]
        found[aspect] = measure(distances, freedom) if distances else NO_WOBBLE
    return found


def _to_the_rest(aspect: Aspect, sketch: FieldSketch, whole: FieldSketch) -> Distance | None:
    """None if both are one value: there is nothing that could differ."""
    distance = between(aspect, sketch, whole)
    return None if distance is None else to_the_rest(distance)


def _within(traffic: Traffic, from_s: float, to_s: float) -> tuple[float, ...]:
    return tuple(sorted(start for start in traffic.starts_s if from_s <= start < to_s))


def _is_enough(starts_s: Sequence[float], window_s: float) -> bool:
    return len(starts_s) >= DAY_S / window_s / 2


def _has_days(starts_s: Sequence[float], window_s: float) -> bool:
    if not starts_s or window_s >= DAY_S:
        return False
    return max(starts_s) - min(starts_s) + window_s >= MIN_DAYS_BY_TIME * DAY_S


def _is_near(start_s: float, time_s: float | None) -> bool:
    """Whether a window is near a time of day; all are if there is none."""
    if time_s is None:
        return True
    apart = abs(start_s - time_s) % DAY_S
    return min(apart, DAY_S - apart) <= NEAR_S
