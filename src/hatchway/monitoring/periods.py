"""Which windows each field is compared with: the baseline of the API, or what somebody said is the new normal. Pure.

A change that is accepted is accepted for the fields that drifted. For them, traffic from the first window on that
showed the drift is a first period like that of a new revision: used after a day, frozen after a week. All other fields
keep their baseline, so that saying yes to one change forgets nothing of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hatchway.monitoring.baseline import Source, Traffic, Window, first_period, last_period
from hatchway.monitoring.drift import FieldVerdict, Rules
from hatchway.monitoring.memory import Memory
from hatchway.monitoring.sketches import FieldSketch


@dataclass(frozen=True)
class Accepted:
    """A field's traffic from `since_s` on is its new normal; somebody said so at `at_s`."""

    since_s: float
    at_s: float


@dataclass(frozen=True)
class Known:
    """What there is to compare with: training data, this revision's traffic, that of the one before.

    `accepted`: fields whose change is the new normal.
    """

    traffic: Traffic
    data: Mapping[str, FieldSketch] | None = None
    previous: Traffic | None = None
    accepted: Mapping[str, Accepted] = field(default_factory=dict)


@dataclass(frozen=True)
class Period:
    """Where the baseline of some fields comes from. For training data: the windows that its wobble is learnt from.

    `key` tells what was learnt of one period from what was learnt of another.
    """

    key: str
    source: Source
    starts_s: tuple[float, ...]
    traffic: Traffic


def choose(memory: Memory, window: Window, known: Known, rules: Rules) -> tuple[Period | None, dict[str, Period]]:
    """The period of all fields but those that were accepted, and that of each of those. None: there is none yet."""
    return _of_all(memory, window, known, rules), dict(_of_accepted(memory, window, known, rules))


def _of_all(memory: Memory, window: Window, known: Known, rules: Rules) -> Period | None:
    now_s = window.start_s + rules.window_s
    first = first_period(known.traffic, memory.unclean_s | {window.start_s}, now_s, rules.window_s)
    if known.data is not None:
        return Period("data", "data", first.starts_s, known.traffic)
    if first.is_usable:
        return Period("first_period", "first_period", first.starts_s, known.traffic)
    if known.previous is not None:
        last = last_period(known.previous, known.traffic.since_s, rules.window_s)
        if last.is_usable:
            return Period("previous_revision", "previous_revision", last.starts_s, known.previous)
    return None


def _of_accepted(memory: Memory, window: Window, known: Known, rules: Rules) -> Iterator[tuple[str, Period]]:
    for name, accepted in known.accepted.items():
        # What was called drift before is what was accepted.
        unclean = {start for start in memory.unclean_s if start >= accepted.at_s} | {window.start_s}
        since = replace(known.traffic, since_s=accepted.since_s)
        found = first_period(since, unclean, window.start_s + rules.window_s, rules.window_s)
        if found.is_usable:
            yield name, Period(f"accepted {accepted.since_s:.0f}", "accepted", found.starts_s, since)


def no_baseline_yet(name: str, sketch: FieldSketch, window: Window, known: Known, rules: Rules) -> FieldVerdict:
    """What to say of a field that has no period."""
    accepted = known.accepted.get(name)
    since_s = known.traffic.since_s if accepted is None else accepted.since_s
    hours = (window.start_s + rules.window_s - since_s) / 3600
    what = "the first day" if accepted is None else "the change was accepted, and its first day"
    told = f"{what} is being learnt: {hours:.0f} hours of 24" if hours < 24 else "too little traffic yet"
    return FieldVerdict("no_baseline", told, n_current=sketch.count)
