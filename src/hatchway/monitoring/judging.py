"""One look at a window of an API: which baseline, what was learnt of it, what is found, what holds now. Pure.

A field is judged by its values of the last window, or by those of the last day up to it where the window alone cannot
tell: it has too few values; or the baseline is training data and the field has a rhythm, which only a whole day
evens out. A day wobbles at most as much as its hours do around what is usual at their time (the distance of a mean is
at most the mean of the distances), so nothing more has to be learnt for it.

Everything that must survive between looks is in `Memory`; sketches are read from where they are kept, a few at a time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hatchway.monitoring.baseline import (
    DAY_S,
    MIN_DAYS_BY_TIME,
    PERIOD_S,
    Source,
    Window,
    learn,
    pool,
    starts_to_compare,
)
from hatchway.monitoring.distances import Aspect
from hatchway.monitoring.drift import Report, Rules, judge, overall, with_absent
from hatchway.monitoring.memory import Memory
from hatchway.monitoring.periods import Known, Period, choose, no_baseline_yet
from hatchway.monitoring.persistence import Standing, settle
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import Wobble

LEARN_AT_DAYS = (6, 5, 4, 3, 2, 1)  # of traffic; a week often lacks some windows

# A rhythm of a quarter of `min_effect` hides changes of `min_effect`: a window must stand out from five times as much.
RHYTHM_OF_MIN_EFFECT = 0.25


@dataclass(frozen=True)
class Look:
    """What came of it. `source`: of the baseline of all fields that were not accepted.

    `baselines`: what the window was compared with, for histograms side by side.
    """

    memory: Memory
    report: Report
    source: Source | None
    baselines: Mapping[Source, Mapping[str, FieldSketch]]


def look(memory: Memory, window: Window, known: Known, rules: Rules) -> Look:
    """Judge a window that is over. Each window once, in order.

    Learning, daily in a revision's first week, reads its windows field by field and takes up to 60 ms for each.
    """
    memory = memory.under(rules)
    main, accepted = choose(memory, window, known, rules)
    if main is not None and main.source != memory.source:  # what was held was held of something else
        kept = {name: standing for name, standing in memory.standings.items() if name in known.accepted}
        memory = replace(memory, source=main.source, standings=kept)
    parts = [*_parts(main, accepted, window, known)]
    untold = {
        name: no_baseline_yet(name, sketch, window, known, rules)
        for name, sketch in window.fields.items()
        if (main is None or name in known.accepted) and name not in accepted
    }
    if not parts:
        return Look(memory, Report("no_baseline", untold), None, {})
    memory = replace(memory, learnt_of={key: days for key, days in memory.learnt_of.items() if _is_of(key, parts)})
    for part in parts:
        memory = _learn(memory, part, rules)
    compared = [(part, _compare(memory, part, known, rules)) for part in parts]
    baseline, current = _all(one.baseline for _, one in compared), _all(one.current for _, one in compared)
    found = judge(baseline, current, memory.wobbles, rules)
    found = _told_of_days(found, frozenset().union(*(one.by_day for _, one in compared)))
    fields = {**found.fields, **untold}
    found = Report(overall([field.verdict for field in fields.values()]), fields)
    standings, held = settle(memory.standings, found, window.start_s, _early(memory, parts))
    memory = replace(memory, standings=standings)
    if held.verdict == "drift" and _is_learning(window, known):
        memory = replace(memory, unclean_s=memory.unclean_s | _odd(standings, window, rules))
    baselines: dict[Source, Mapping[str, FieldSketch]] = {}
    for part, one in compared:
        baselines[part.period.source] = {**baselines.get(part.period.source, {}), **one.baseline}
    return Look(memory, held, None if main is None else main.source, baselines)


@dataclass(frozen=True)
class _Part:
    """The fields of a window that are compared with one period."""

    period: Period
    window: Window
    names: frozenset[str] | None  # None: all but those in `others`
    others: Collection[str] = ()

    def owns(self, name: str) -> bool:
        return name not in self.others if self.names is None else name in self.names

    def load(self, starts_s: Collection[float]) -> dict[str, FieldSketch]:
        """The fields of these windows as one."""
        starts, load = [*starts_s], self.period.traffic.load
        if self.names is None:
            return {name: sketch for name, sketch in pool(load(starts, None)).items() if self.owns(name)}
        return _all(pool(load(starts, name)) for name in sorted(self.names))


def _parts(main: Period | None, accepted: Mapping[str, Period], window: Window, known: Known) -> Iterator[_Part]:
    if main is not None:
        yield _Part(main, window, None, known.accepted.keys())
    for key in sorted({period.key for period in accepted.values()}):
        names = frozenset(name for name, period in accepted.items() if period.key == key)
        yield _Part(next(accepted[name] for name in sorted(names)), window, names)


def _is_of(key: str, parts: Collection[_Part]) -> bool:
    return any(part.period.key == key for part in parts)


def _all(several: Iterable[Mapping[str, FieldSketch]]) -> dict[str, FieldSketch]:
    return {name: sketch for one in several for name, sketch in one.items()}


def _is_learning(window: Window, known: Known) -> bool:
    """Whether the window may become part of a baseline."""
    begun = [known.traffic.since_s, *(one.since_s for one in known.accepted.values())]
    return window.start_s < max(begun) + PERIOD_S


def _odd(standings: Mapping[str, Standing], window: Window, rules: Rules) -> frozenset[float]:
    """This window and those before it that showed the drift. One that is odd alone stays: windows may be like that."""
    begun = [one.since_s for one in standings.values() if one.is_drifting and one.since_s is not None]
    n = int((window.start_s - min(begun, default=window.start_s)) // rules.window_s)
    return frozenset(window.start_s - i * rules.window_s for i in range(n + 1))


def _early(memory: Memory, parts: Collection[_Part]) -> frozenset[str]:
    """Fields whose baseline is a day or two."""
    young = [part for part in parts if 0 < memory.learnt_of.get(part.period.key, 0) < MIN_DAYS_BY_TIME]
    return frozenset(name for part in young for name in part.window.fields if part.owns(name))


@dataclass(frozen=True)
class _Compared:
    baseline: Mapping[str, FieldSketch]
    current: Mapping[str, FieldSketch]
    by_day: frozenset[str]


def _compare(memory: Memory, part: _Part, known: Known, rules: Rules) -> _Compared:
    window, period = part.window, part.period
    if period.source == "data":
        baseline, current = dict(known.data or {}), dict(window.fields)
        baseline = {name: sketch for name, sketch in baseline.items() if part.owns(name)}
    else:
        baseline = part.load(starts_to_compare(period.starts_s, window.start_s, rules.window_s))
        current = with_absent(window.fields, baseline)
    current = {name: sketch for name, sketch in current.items() if part.owns(name)}
    by_day = frozenset(
        name for name, sketch in current.items() if name in memory.rhythmic or sketch.count < rules.min_samples
    )
    if by_day:
        from_s = window.start_s + rules.window_s - DAY_S
        before = [start for start in known.traffic.starts_s if from_s <= start < window.start_s]
        day = pool([Window(window.start_s, current), *known.traffic.load(before, None)])
        current |= {name: day[name] for name in by_day}
        if period.source != "data":
            whole = part.load(period.starts_s)
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


def _learn(memory: Memory, part: _Part, rules: Rules) -> Memory:
    period = part.period
    days = len(period.starts_s) * rules.window_s / DAY_S
    stage = next((at for at in LEARN_AT_DAYS if days >= at), 0)
    if memory.learnt_of.get(period.key) == stage:
        return memory
    wobbles = {name: known for name, known in memory.wobbles.items() if not part.owns(name)}
    rhythmic = {name for name in memory.rhythmic if not part.owns(name)}
    for name in filter(part.owns, part.window.fields if stage else ()):
        windows = list(period.traffic.load(period.starts_s, name))
        wobbles[name] = by_time = learn(windows, name, rules)
        if period.source == "data":
            at_any_time = learn(windows, name, rules, by_time=False)
            if _rhythm(at_any_time, by_time) > RHYTHM_OF_MIN_EFFECT * rules.min_effect:
                rhythmic.add(name)
            else:
                wobbles[name] = at_any_time
    learnt_of = {**memory.learnt_of, period.key: stage}
    return replace(memory, wobbles=wobbles, rhythmic=frozenset(rhythmic), learnt_of=learnt_of)


def _rhythm(at_any_time: Mapping[Aspect, Wobble], by_time: Mapping[Aspect, Wobble]) -> float:
    """How much of the wobble is the time of day; nothing while there are too few days to tell."""
    if "values" not in at_any_time or "values" not in by_time:
        return 0.0
    return math.sqrt(max(0.0, at_any_time["values"].size ** 2 - by_time["values"].size ** 2))
