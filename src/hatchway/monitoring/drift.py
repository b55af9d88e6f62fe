"""Whether the values of a window differ from those of the baseline: a verdict for each field, with its evidence. Pure.

Drift is called where three things hold:

1. *It is large enough to matter*: at least `min_effect` of the values moved. With millions of requests every
   difference is significant, also one that changes nothing.
2. *It is no accident*: the probability of such a distance without a change, chance and the field's own wobble together
   (`wobble.py`), is below what the whole API may spend on false alarms.
3. *It lasts* (`persistence.py`).

Looks are many: three aspects of each field, each window, for weeks. `false_alarm_rate` is for all of it: the
probability that an API without drift is called drifting in a week. Each look may spend its share (Bonferroni over
looks; they need not be independent), and within a look Holm's method divides it over all that was tested. That keeps
the probability of any false alarm; Benjamini-Hochberg would keep the share of false ones among the alarms, which is no
help to who is woken by one. Being this strict is cheap, as tails fall exponentially: 1 % a week over 50 fields takes
four times the requests that 5 % for one look at one field takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hatchway.monitoring.distances import Aspect, Distance, Test, between
from hatchway.monitoring.explain import explain
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.wobble import ASSUMED_WOBBLE, Wobble, probability, threshold

Verdict = Literal["ok", "drift", "too_few", "no_baseline"]
Wobbles = Mapping[str, Mapping[Aspect, Wobble]]

ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
WEEK_S = 7 * 86400


@dataclass(frozen=True)
class Rules:
    """What counts as drift.

    Attributes:
        window_s: seconds of traffic that are judged together, once.
        false_alarm_rate: probability that an API without drift is called drifting in a week.
        min_effect: share of a field's values that must have moved. Half of it is enough for missing values and for
            types, because no noise of the world makes values disappear or change their type.
        min_samples: values that a window must have.
    """

    window_s: float = 3600.0
    false_alarm_rate: float = 0.01
    min_effect: float = 0.1
    min_samples: int = 50

    @property
    def per_look(self) -> float:
        """What one look may spend of the false alarm rate."""
        return self.false_alarm_rate / max(1.0, WEEK_S / self.window_s)

    def least(self, aspect: Aspect) -> float:
        return self.min_effect if aspect == "values" else self.min_effect / 2


@dataclass(frozen=True)
class FieldVerdict:
    """What one window says of one field.

    Attributes:
        aspect: what is told of: where drift was found, else what is nearest to it. None if nothing was compared.
        statistic: of the test: D, or chi-square.
        p_value: adjusted for all that was tested in this look; to be compared with `Rules.per_look`.
        effect: at least this share of the values moved.
        threshold: the effect from which on this would have been drift.
        since_s: of drift that is held: when the first window began that showed it.
    """

    verdict: Verdict
    explanation: str
    aspect: Aspect | None = None
    test: Test | None = None
    statistic: float | None = None
    p_value: float | None = None
    effect: float | None = None
    threshold: float | None = None
    n_current: int = 0
    n_baseline: int = 0
    since_s: float | None = None


@dataclass(frozen=True)
class Report:
    verdict: Verdict
    fields: Mapping[str, FieldVerdict]


@dataclass(frozen=True)
class _Tested:
    name: str
    aspect: Aspect
    distance: Distance
    wobble: Wobble
    p_value: float  # adjusted

    def is_drift(self, rules: Rules) -> bool:
        return self.p_value <= rules.per_look and self.distance.effect >= rules.least(self.aspect)


def judge(
    baseline: Mapping[str, FieldSketch],
    current: Mapping[str, FieldSketch],
    wobbles: Wobbles | None = None,
    rules: Rules | None = None,
) -> Report:
    """What one window (`current`) says about each of its fields.

    Fields that only the baseline has are left out: training data has columns that no request has. Those that a
    window of traffic should have and has not are added with `with_absent`. For a field that `wobbles` does not know,
    ASSUMED_WOBBLE holds.
    """
    rules, wobbles = rules or Rules(), wobbles or {}
    tested = _adjusted(
        [
            _test(name, aspect, found, wobbles.get(name, {}).get(aspect, ASSUMED_WOBBLE))
            for name in sorted(current.keys() & baseline.keys())
            for aspect in ASPECTS
            if (found := between(aspect, current[name], baseline[name])) is not None
            and min(found.n_current, found.n_baseline) >= rules.min_samples
        ]
    )
    fields = {}
    for name, sketch in current.items():
        known = baseline.get(name)
        if known is None or not known.count:
            fields[name] = FieldVerdict("no_baseline", "no values to compare with", n_current=sketch.count)
        else:
            fields[name] = _verdict([test for test in tested if test.name == name], sketch, known, rules, len(tested))
    return Report(overall([field.verdict for field in fields.values()]), fields)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Of an API, from those of its fields."""
    order: tuple[Verdict, ...] = ("drift", "ok", "too_few")
    return next((verdict for verdict in order if verdict in verdicts), "no_baseline")


def with_absent(current: Mapping[str, FieldSketch], names: Mapping[str, object]) -> dict[str, FieldSketch]:
    """With the fields that no request of the window had, in `names` but not in `current`: all of it is missing."""
    records = max((sketch.count for sketch in current.values()), default=0)
    filled = dict(current)
    for name in names.keys() - current.keys():
        filled[name] = FieldSketch()
        filled[name].update((), absent=records)
    return filled


def _test(name: str, aspect: Aspect, distance: Distance, wobble: Wobble) -> _Tested:
    return _Tested(name, aspect, distance, wobble, probability(distance, distance.length, wobble))


def _adjusted(tests: Sequence[_Tested]) -> list[_Tested]:
    """S. Holm, "A simple sequentially rejective multiple test procedure", 1979."""
    adjusted = []
    highest = 0.0
    for rank, test in enumerate(sorted(tests, key=lambda test: test.p_value)):
        highest = max(highest, min(1.0, (len(tests) - rank) * test.p_value))
        adjusted.append(_Tested(test.name, test.aspect, test.distance, test.wobble, highest))
    return adjusted


def _verdict(
    tests: Sequence[_Tested], current: FieldSketch, baseline: FieldSketch, rules: Rules, n_tests: int
) -> FieldVerdict:
    if not tests:
        n = min(current.count, baseline.count)
        if n >= rules.min_samples:
            return FieldVerdict("ok", "the same one value as ever", n_current=current.count, n_baseline=baseline.count)
        return FieldVerdict(
            "too_few",
            f"{n} values, at least {rules.min_samples} are needed",
            n_current=current.count,
            n_baseline=baseline.count,
        )
    told = max(tests, key=lambda test: (test.is_drift(rules), test.distance.effect / rules.least(test.aspect)))
    found = told.distance
    return FieldVerdict(
        "drift" if told.is_drift(rules) else "ok",
        explain(told.aspect, found, current, baseline),
        told.aspect,
        found.test,
        found.statistic,
        told.p_value,
        found.effect,
        _threshold(told, rules, n_tests),
        found.n_current,
        found.n_baseline,
    )


def _threshold(told: _Tested, rules: Rules, n_tests: int) -> float:
    """The effect at which drift begins: `min_effect`, or more where sizes and wobble ask for more."""
    found = told.distance
    length = threshold(found, told.wobble, rules.per_look / n_tests)
    # For chi2 an effect is at most half its length (Cauchy-Schwarz); nearer is what this window itself says.
    ratio = 1.0 if found.test == "ks" else found.effect / found.length if found.length else 0.5
    return max(rules.least(told.aspect), min(1.0, length * ratio))
