"""One look at a window of an API: which baseline, what was learnt of it, what is found, what holds now. Pure.

Everything that must survive between looks is in `Memory`; sketches are read from where they are kept, a few at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from hatchway.monitoring.baseline import (
    DAY_S,
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
from hatchway.monitoring.drift import FieldVerdict, Report, Rules, Wobbles, judge, with_absent
from hatchway.monitoring.persistence import Standing, settle
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import Wobble

LEARN_AT_DAYS = (6, 3, 1)  # of traffic; in between little is new, and a week often lacks some windows


@dataclass(frozen=True)
class Memory:
    """Of one revision, between looks.

    `unclean_s`: starts of windows that showed drift, and so are no part of the first period. `learnt_of`: from which
    source and how many days of it `wobbles` are.
    """

    source: Source | None = None
    standings: Mapping[str, Standing] = field(default_factory=dict)
    unclean_s: frozenset[float] = frozenset()
    wobbles: Wobbles = field(default_factory=dict)
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

    Learning, three times in a revision's life, reads a week of windows field by field and takes some 60 ms for each.
    """
    source, starts_s = _choose(memory, window, known, rules)
    if source is None:
        return Look(memory, _no_baseline(window, known, rules), None, {})
    if source != memory.source:  # what was held was held of something else
        memory = replace(memory, source=source, standings={})
    memory = _learn(memory, source, starts_s, window, known, rules)
    if source == "data":
        baseline, current = known.data or {}, window.fields
    else:
        traffic = known.previous if source == "previous_revision" and known.previous else known.traffic
        chosen = starts_to_compare(starts_s, window.start_s, rules.window_s)
        baseline = pool(traffic.load(chosen, None))
        current = with_absent(window.fields, baseline)
    found = judge(baseline, current, memory.wobbles, rules)
    standings, held = settle(memory.standings, found)
    if found.verdict == "drift" and window.start_s < known.traffic.since_s + PERIOD_S:
        memory = replace(memory, unclean_s=memory.unclean_s | {window.start_s})
    return Look(replace(memory, standings=standings), held, source, baseline)


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


def _learn(
    memory: Memory, source: Source, starts_s: tuple[float, ...], window: Window, known: Known, rules: Rules
) -> Memory:
    days = len(starts_s) * rules.window_s / DAY_S
    stage: tuple[Source, int] = (source, next((at for at in LEARN_AT_DAYS if days >= at), 0))
    if stage == memory.learnt_of:
        return memory
    if stage[1] == 0:
        return replace(memory, wobbles={}, learnt_of=stage)
    traffic = known.previous if source == "previous_revision" and known.previous else known.traffic
    wobbles = {
        name: learn(traffic.load(starts_s, name), name, rules, by_time=source != "data") for name in window.fields
    }
    return replace(memory, wobbles=wobbles, learnt_of=stage)


def _no_baseline(window: Window, known: Known, rules: Rules) -> Report:
    hours = (window.start_s + rules.window_s - known.traffic.since_s) / 3600
    told = f"the first day is being learnt: {hours:.0f} hours of 24" if hours < 24 else "too little traffic yet"
    fields = {name: FieldVerdict("no_baseline", told, n_current=sketch.count) for name, sketch in window.fields.items()}
    return Report("no_baseline", fields)
