"""One look at a window of an API: which baseline, what was learnt of it, what is found, what holds now. Pure.

A field is judged by its values of the last window, or by those of the last day up to it where the window alone cannot
tell: it has too few values; or the baseline is training data and the field has a rhythm, which only a whole day
evens out. A day wobbles at most as much as its hours do around what is usual at their time (the distance of a mean is
at most the mean of the distances), so nothing more has to be learnt for it.

Everything that must survive between looks is in `Memory`; sketches are read from where they are kept, a few at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from hatchway.monitoring.baseline import (
    DAY_S,
    MIN_DAYS_BY_TIME,
    PERIOD_S,
    Source,
    Traffic,
    Window,
    first_period,
    last_period,
    learn,
    pool,
    starts_to_compare,
)
from hatchway.monitoring.distances import Aspect
from hatchway.monitoring.drift import FieldVerdict, Report, Rules, Wobbles, judge, with_absent
from hatchway.monitoring.persistence import CONFIRMING_EARLY, CONFIRMING_WINDOWS, Standing, settle
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import Wobble

LEARN_AT_DAYS = (6, 5, 4, 3, 2, 1)  # of traffic; a week often lacks some windows

# A rhythm of a quarter of `min_effect` hides changes of `min_effect`: a window must stand out from five times as much.
RHYTHM_OF_MIN_EFFECT = 0.25


@dataclass(frozen=True)
class Memory:
    """Of one revision, between looks.

    `unclean_s`: starts of windows that showed drift, and so are no part of the first period. `learnt_of`: from which
    source and how many days of it `wobbles` are. `rhythmic`: fields that are compared with training data by whole days.
    """

    source: Source | None = None
    standings: Mapping[str, Standing] = field(default_factory=dict)
    unclean_s: frozenset[float] = frozenset()
    wobbles: Wobbles = field(default_factory=dict)
    rhythmic: frozenset[str] = frozenset()
    learnt_of: tuple[Source, int] | None = None

    def to_json(self) -> str:
        document = {
            "source": self.source,
            "standings": {name: asdict(standing) for name, standing in self.standings.items()},
            "unclean_s": sorted(self.unclean_s),
            "wobbles": {
                name: {aspect: [w.size, None if math.isinf(w.freedom) else w.freedom] for aspect, w in aspects.items()}
                for name, aspects in self.wobbles.items()
            },
            "rhythmic": sorted(self.rhythmic),
            "learnt_of": self.learnt_of,
        }
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Memory:
        """What `to_json` gave."""
        document = json.loads(text)
        return cls(
            document["source"],
            {name: Standing(**standing) for name, standing in document["standings"].items()},
            frozenset(document["unclean_s"]),
            {
                name: {
                    aspect: Wobble(size, math.inf if freedom is None else freedom)
                    for aspect, (size, freedom) in aspects.items()
                }
                for name, aspects in document["wobbles"].items()
            },
            frozenset(document["rhythmic"]),
            None if document["learnt_of"] is None else tuple(document["learnt_of"]),
        )


@dataclass(frozen=True)
class Look:
    """What came of it. `baseline`: what the window was compared with, for histograms side by side; may be empty."""

    memory: Memory
    report: Report
    source: Source | None
    baseline: Mapping[str, FieldSketch]


@dataclass(frozen=True)
class Known:
    """What there is to compare with: training data, this revision's traffic, that of the one before."""

    traffic: Traffic
    data: Mapping[str, FieldSketch] | None = None
    previous: Traffic | None = None


def look(memory: Memory, window: Window, known: Known, rules: Rules) -> Look:
    """Judge a window that is over. Each window once, in order.

    Learning, daily in a revision's first week, reads its windows field by field and takes up to 60 ms for each.
    """
    source, starts_s = _choose(memory, window, known, rules)
    if source is None:
        return Look(memory, _no_baseline(window, known, rules), None, {})
    if source != memory.source:  # what was held was held of something else
        memory = replace(memory, source=source, standings={})
    traffic = known.previous if source == "previous_revision" and known.previous is not None else known.traffic
    period = _Period(source, starts_s, traffic)
    memory = _learn(memory, period, window, rules)
    compared = _compare(memory, window, known, period, rules)
    found = judge(compared.baseline, compared.current, memory.wobbles, rules)
    found = _told_of_days(found, compared.by_day)
    days = memory.learnt_of[1] if memory.learnt_of is not None else 0
    confirming = CONFIRMING_EARLY if 0 < days < MIN_DAYS_BY_TIME else CONFIRMING_WINDOWS
    standings, held = settle(memory.standings, found, confirming)
    if held.verdict == "drift" and window.start_s < known.traffic.since_s + PERIOD_S:
        # Together with those that confirmed it. A window that is odd alone stays: it is what windows may be like.
        odd = {window.start_s - i * rules.window_s for i in range(confirming)}
        memory = replace(memory, unclean_s=memory.unclean_s | odd)
    return Look(replace(memory, standings=standings), held, source, compared.baseline)


@dataclass(frozen=True)
class _Period:
    """Where the baseline comes from. For training data: the windows that its wobble is learnt from."""

    source: Source
    starts_s: tuple[float, ...]
    traffic: Traffic


@dataclass(frozen=True)
class _Compared:
    baseline: Mapping[str, FieldSketch]
    current: Mapping[str, FieldSketch]
    by_day: frozenset[str]


def _compare(memory: Memory, window: Window, known: Known, period: _Period, rules: Rules) -> _Compared:
    if period.source == "data":
        baseline, current = dict(known.data or {}), dict(window.fields)
    else:
        chosen = starts_to_compare(period.starts_s, window.start_s, rules.window_s)
        baseline = pool(period.traffic.load(chosen, None))
        current = with_absent(window.fields, baseline)
    by_day = frozenset(
        name for name, sketch in current.items() if name in memory.rhythmic or sketch.count < rules.min_samples
    )
    if by_day:
        from_s = window.start_s + rules.window_s - DAY_S
        before = [start for start in known.traffic.starts_s if from_s <= start < window.start_s]
        day = pool([Window(window.start_s, current), *known.traffic.load(before, None)])
        current |= {name: day[name] for name in by_day}
        if period.source != "data":
            whole = pool(period.traffic.load(period.starts_s, None))
            baseline |= {name: whole[name] for name in by_day & whole.keys()}
    return _Compared(baseline, current, by_day)


def _told_of_days(report: Report, names: frozenset[str]) -> Report:
    fields = {
        name: replace(told, explanation=f"{told.explanation}, over the last day")
        if name in names and told.verdict in ("ok", "drift")
        else told
        for name, told in report.fields.items()
    }
    return Report(report.verdict, fields)


def _choose(memory: Memory, window: Window, known: Known, rules: Rules) -> tuple[Source | None, tuple[float, ...]]:
    """The source of the baseline, and the windows that belong to it, or from which its wobble is learnt."""
    now_s = window.start_s + rules.window_s
    first = first_period(known.traffic, memory.unclean_s | {window.start_s}, now_s, rules.window_s)
    if known.data is not None:
        return "data", first.starts_s
    if first.is_usable:
        return "first_period", first.starts_s
    if known.previous is not None:
        last = last_period(known.previous, known.traffic.since_s, rules.window_s)
        if last.is_usable:
            return "previous_revision", last.starts_s
    return None, ()


def _learn(memory: Memory, period: _Period, window: Window, rules: Rules) -> Memory:
    days = len(period.starts_s) * rules.window_s / DAY_S
    stage: tuple[Source, int] = (period.source, next((at for at in LEARN_AT_DAYS if days >= at), 0))
    if stage == memory.learnt_of:
        return memory
    if stage[1] == 0:
        return replace(memory, wobbles={}, rhythmic=frozenset(), learnt_of=stage)
    wobbles, rhythmic = {}, set()
    for name in window.fields:
        windows = list(period.traffic.load(period.starts_s, name))
        wobbles[name] = by_time = learn(windows, name, rules)
        if period.source == "data":
            at_any_time = learn(windows, name, rules, by_time=False)
            if _rhythm(at_any_time, by_time) > RHYTHM_OF_MIN_EFFECT * rules.min_effect:
                rhythmic.add(name)
            else:
                wobbles[name] = at_any_time
    return replace(memory, wobbles=wobbles, rhythmic=frozenset(rhythmic), learnt_of=stage)


def _rhythm(at_any_time: Mapping[Aspect, Wobble], by_time: Mapping[Aspect, Wobble]) -> float:
    """How much of the wobble is the time of day; nothing while there are too few days to tell."""
    if "values" not in at_any_time or "values" not in by_time:
        return 0.0
    return math.sqrt(max(0.0, at_any_time["values"].size ** 2 - by_time["values"].size ** 2))


def _no_baseline(window: Window, known: Known, rules: Rules) -> Report:
    hours = (window.start_s + rules.window_s - known.traffic.since_s) / 3600
    told = f"the first day is being learnt: {hours:.0f} hours of 24" if hours < 24 else "too little traffic yet"
    fields = {name: FieldVerdict("no_baseline", told, n_current=sketch.count) for name, sketch in window.fields.items()}
    return Report("no_baseline", fields)
