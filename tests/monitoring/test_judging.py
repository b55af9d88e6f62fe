"""A revision's life, window by window: which baseline it has, what is called drift, what is remembered."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hatchway.monitoring.baseline import DAY_S, Traffic, Window, pool
from hatchway.monitoring.drift import Rules
from hatchway.monitoring.judging import Look, look
from hatchway.monitoring.memory import Memory
from hatchway.monitoring.periods import Accepted, Known
from hatchway.monitoring.persistence import Standing
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import Wobble

HOUR_S = 3600.0
Mean = Callable[[float], float]  # start of a window -> mean of its values


def flat(_: float) -> float:
    return 0.0


def rhythmic(start_s: float) -> float:
    return 0.5 * math.sin(2 * math.pi * start_s / DAY_S)


@dataclass
class Life:
    """A revision with fields f0 ... of which only f0 ever shifts."""

    n_fields: int = 1
    n: int = 400
    since_s: float = 0.0
    mean: Mean = flat
    rules: Rules = field(default_factory=Rules)
    data: dict[str, FieldSketch] | None = None
    previous: Life | None = None
    accepted: dict[str, Accepted] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    windows: dict[float, Window] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def traffic(self) -> Traffic:
        return Traffic(self.since_s, sorted(self.windows), self._load)

    def pass_windows(self, n: int, shift: float = 0.0) -> list[Look]:
        return [self.pass_window(shift) for _ in range(n)]

    def pass_window(self, shift: float = 0.0) -> Look:
        start_s = self.since_s + len(self.windows) * self.rules.window_s
        fields = {}
        for number in range(self.n_fields):
            sketch = fields[f"f{number}"] = FieldSketch()
            sketch.update(self.rng.normal(self.mean(start_s) + (0 if number else shift), 1, size=self.n))
        window = self.windows[start_s] = Window(start_s, fields)
        previous = None if self.previous is None else self.previous.traffic()
        found = look(self.memory, window, Known(self.traffic(), self.data, previous, self.accepted), self.rules)
        self.memory = Memory.from_json(found.memory.to_json())  # as over a restart of the monitor
        return found

    def _load(self, starts_s: Sequence[float], name: str | None) -> Iterable[Window]:
        for start in starts_s:
            fields = self.windows[start].fields
            yield Window(start, fields if name is None else {name: fields[name]})


def verdicts(looks: Iterable[Look]) -> list[str]:
    return [found.report.verdict for found in looks]


def test_a_revision_learns_for_a_day_and_then_finds_what_changes() -> None:
    life = Life()
    first = life.pass_windows(23)
    assert set(verdicts(first)) == {"no_baseline"}
    assert first[4].report.fields["f0"].explanation == "the first day is being learnt: 5 hours of 24"
    assert set(verdicts(life.pass_windows(14))) <= {"ok", "no_baseline"}
    assert life.memory.source == "first_period"
    changed = life.pass_windows(7, shift=1.5)
    assert verdicts(changed) == ["ok"] * 5 + ["drift", "drift"], (
        "six windows in a row confirm it, until there are three days"
    )
    assert verdicts(life.pass_windows(4)) == ["drift", "drift", "ok", "ok"]


def test_windows_that_drift_are_no_part_of_the_baseline() -> None:
    life = Life()
    life.pass_windows(72)
    life.pass_windows(6, shift=2.0)
    assert len(life.memory.unclean_s) == 6
    found = life.pass_window(shift=2.0)
    assert found.report.verdict == "drift"
    numbers = found.baselines["first_period"]["f0"].numeric
    assert numbers is not None
    assert numbers.high < 6


def test_an_odd_window_alone_is_part_of_the_baseline() -> None:
    life = Life()
    life.pass_windows(30)
    life.pass_window(shift=2.0)
    life.pass_windows(2)
    assert life.memory.unclean_s == set()


def test_before_its_first_day_a_revision_is_compared_with_the_one_before() -> None:
    former = Life()
    former.pass_windows(72)
    life = Life(since_s=72 * HOUR_S, previous=former)
    assert life.pass_window().source == "previous_revision"
    assert verdicts(life.pass_windows(3, shift=1.0)) == ["ok", "ok", "drift"]
    life.pass_windows(21)
    assert life.pass_window().source == "first_period"


def test_training_data_is_there_at_once_and_little_is_said_until_a_day_was_seen() -> None:
    data = FieldSketch()
    data.update(np.random.default_rng(1).normal(size=5000))
    known = {"f0": data, "target": data}
    young = Life(data=known)
    assert verdicts(young.pass_windows(3, shift=0.5)) == ["ok", "ok", "ok"]
    assert verdicts(young.pass_windows(3, shift=3.0)) == ["ok", "ok", "drift"]
    life = Life(data=known)
    life.pass_windows(73)
    found = life.pass_windows(3, shift=0.6)
    assert verdicts(found) == ["ok", "ok", "drift"]
    assert "target" not in found[0].report.fields, "no request has a target"


def test_a_field_that_vanished_is_missing() -> None:
    life = Life(n_fields=2)
    life.pass_windows(73)
    life.n_fields = 1
    told = life.pass_windows(3)[-1].report.fields["f1"]
    assert (told.verdict, told.explanation) == ("drift", "missing 0 % -> 100 %")


def test_an_hour_without_a_baseline_keeps_nothing() -> None:
    life = Life()
    assert life.pass_window().memory == Memory()


def test_fifty_unchanged_fields_stay_quiet_for_a_seasonal_week_and_half_a_sigma_in_one_is_found() -> None:
    """A small one of bench/drift.py, which measures the rates: windows of four hours, and one API."""
    life = Life(50, 1000, mean=rhythmic, rules=Rules(window_s=4 * HOUR_S))
    quiet = life.pass_windows(7 * 6)
    assert "drift" not in verdicts(quiet)
    changed = life.pass_windows(3, shift=0.5)
    assert verdicts(changed) == ["ok", "ok", "drift"]
    assert {name for name, told in changed[-1].report.fields.items() if told.verdict == "drift"} == {"f0"}


def test_a_rhythm_that_training_data_cannot_know_is_evened_out_over_a_day() -> None:
    data = Life(mean=rhythmic, rng=np.random.default_rng(8))
    data.pass_windows(48)
    life = Life(mean=rhythmic, data=pool(data.windows.values()))
    quiet = life.pass_windows(5 * 24)
    assert "drift" not in verdicts(quiet)
    assert life.memory.rhythmic == {"f0"}
    found = life.pass_windows(24, shift=0.5)
    assert found[-1].report.verdict == "drift"
    told = found[-1].report.fields["f0"]
    assert told.explanation.endswith("of the values moved, over the last day")
    assert told.n_current == 24 * 400


def test_too_few_requests_for_an_hour_are_judged_over_a_day() -> None:
    life = Life(n=12)
    life.pass_windows(72)
    assert "drift" not in verdicts(life.pass_windows(24))
    found = life.pass_windows(24, shift=1.5)
    assert found[-1].report.verdict == "drift"
    assert found[-1].report.fields["f0"].n_current == 24 * 12


def accept(life: Life, name: str = "f0") -> None:
    """Somebody says now that the change of this field is the new normal."""
    since_s = life.memory.standings[name].since_s
    assert since_s is not None
    life.accepted[name] = Accepted(since_s, life.since_s + len(life.windows) * life.rules.window_s)
    standings = {one: standing for one, standing in life.memory.standings.items() if one != name}
    life.memory = replace(life.memory, standings=standings, learnt_of={})


def test_an_accepted_change_is_learnt_like_a_new_revision_and_the_other_fields_keep_their_baseline() -> None:
    life = Life(n_fields=2)
    life.pass_windows(73)
    assert verdicts(life.pass_windows(4, shift=1.5)) == ["ok", "ok", "drift", "drift"]
    accept(life)
    found = life.pass_windows(19, shift=1.5)
    told = found[0].report.fields
    assert (told["f0"].verdict, told["f1"].verdict, found[0].report.verdict) == ("no_baseline", "ok", "ok")
    assert told["f0"].explanation == "the change was accepted, and its first day is being learnt: 5 hours of 24"
    assert {one.report.fields["f0"].verdict for one in found} == {"no_baseline"}
    later = life.pass_windows(60, shift=1.5)
    assert {one.report.fields["f0"].verdict for one in later} == {"ok"}
    assert later[0].baselines.keys() == {"first_period", "accepted"}
    numbers = later[0].baselines["accepted"]["f0"].numeric
    assert numbers is not None
    assert numbers.count == 23 * life.n
    back = life.pass_windows(3)
    assert verdicts(back) == ["ok", "ok", "drift"], "what was normal before is a change now"
    assert back[-1].report.fields["f1"].verdict == "ok"


def test_a_change_against_training_data_can_be_accepted() -> None:
    data = FieldSketch()
    data.update(np.random.default_rng(1).normal(size=5000))
    life = Life(data={"f0": data})
    life.pass_windows(48)
    life.pass_windows(6, shift=1.5)
    assert life.memory.standings["f0"].is_drifting
    accept(life)
    assert {one.report.fields["f0"].verdict for one in life.pass_windows(17, shift=1.5)} == {"no_baseline"}
    assert {one.report.fields["f0"].verdict for one in life.pass_windows(12, shift=1.5)} == {"ok"}


def test_other_rules_hold_from_the_next_window_on_and_windows_of_another_length_are_learnt_anew() -> None:
    life = Life()
    life.pass_windows(8 * 24)
    life.rules = Rules(min_effect=0.6)
    assert verdicts(life.pass_windows(3, shift=1.0)) == ["ok"] * 3
    life.rules = Rules(min_effect=0.3)
    found = life.pass_windows(3, shift=1.0)
    assert verdicts(found) == ["ok", "ok", "drift"]
    assert found[-1].report.fields["f0"].since_s == 195 * HOUR_S
    longer = replace(life.memory, unclean_s=frozenset({73 * HOUR_S})).under(Rules(window_s=6 * HOUR_S))
    assert longer.unclean_s == {72 * HOUR_S}
    assert (longer.learnt_of, longer.standings["f0"].is_drifting) == ({}, True)
    assert longer.under(Rules()).unclean_s == {start * HOUR_S for start in range(72, 78)}


def test_memory_survives_as_json() -> None:
    memory = Memory(
        source="data",
        standings={"f": Standing(True, 1)},
        unclean_s=frozenset({1.0}),
        wobbles={"f": {"values": Wobble(0.1, math.inf), "missing": Wobble(0.2, 23)}},
        rhythmic=frozenset({"f"}),
        learnt_of={"data": 1},
        rules=Rules(false_alarm_rate=0.1),
    )
    assert Memory.from_json(memory.to_json()) == memory


def test_what_the_release_before_remembered_can_be_read() -> None:
    kept = json.loads(Memory(standings={"f": Standing(True, 1)}, unclean_s=frozenset({1.0})).to_json())
    del kept["rules"], kept["standings"]["f"]["since_s"]
    for learnt_of, expected in ((["data", 3], {"data": 3}), (None, {})):
        found = Memory.from_json(json.dumps({**kept, "learnt_of": learnt_of}))
        assert (found.learnt_of, found.rules, found.standings) == (expected, Rules(), {"f": Standing(True, 1)})
    assert Memory.read("{}") == Memory()
