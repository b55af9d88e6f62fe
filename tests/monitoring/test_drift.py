"""Verdicts of one window, and which evidence comes with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import pytest

from hatchway.monitoring.distances import Aspect
from hatchway.monitoring.drift import ASPECTS, FieldVerdict, Rules, judge, overall, with_absent
from hatchway.monitoring.sketches import Column, FieldSketch
from hatchway.monitoring.wobble import NO_WOBBLE, Wobble

RNG = np.random.default_rng(11)
NORMAL = RNG.normal(size=20_000)
CALM: Mapping[Aspect, Wobble] = dict.fromkeys(ASPECTS, NO_WOBBLE)


def sketch(column: Column, absent: int = 0) -> FieldSketch:
    made = FieldSketch()
    made.update(column, absent)
    return made


def verdict(
    current: Column, baseline: Column, wobbles: Mapping[Aspect, Wobble] = CALM, rules: Rules | None = None
) -> FieldVerdict:
    report = judge({"f": sketch(baseline)}, {"f": sketch(current)}, {"f": wobbles}, rules)
    assert report.verdict == report.fields["f"].verdict
    return report.fields["f"]


def test_half_a_sigma_is_drift_and_told_in_words() -> None:
    found = verdict(RNG.normal(5.5, 1, size=2000), NORMAL + 5)
    assert (found.verdict, found.aspect, found.test) == ("drift", "values", "ks")
    assert found.p_value is not None
    assert found.p_value < 1e-6
    assert found.effect == pytest.approx(0.18, abs=0.04)
    assert found.threshold == 0.1
    assert (found.n_current, found.n_baseline) == (2000, 20_000)
    assert re.match(r"median (4\.9|5\.0)\S* -> 5\.\d+; \d+ % of the values moved", found.explanation)


def test_significant_is_not_enough() -> None:
    """0.1 sigma in 20,000 values: a p-value of 1e-20, and nothing that anybody would look at."""
    found = verdict(RNG.normal(0.1, 1, size=20_000), NORMAL)
    assert found.verdict == "ok"
    assert found.effect is not None
    assert found.effect < 0.1


def test_large_is_not_enough() -> None:
    """60 values of which a fifth moved say little when 50 fields are looked at each hour for weeks."""
    found = verdict(RNG.normal(0.4, 1, size=60), NORMAL)
    assert found.verdict == "ok"
    assert found.threshold is not None
    assert found.threshold > 0.25


def test_the_threshold_is_where_drift_begins() -> None:
    """At the threshold a distance is drift, and it is not far above where drift begins."""
    for n in (80, 300, 5000):
        found = verdict(RNG.normal(size=n), NORMAL)
        assert found.threshold is not None
        beyond = verdict(
            np.concatenate(
                [RNG.normal(size=n - round(n * found.threshold * 1.3)), np.full(round(n * found.threshold * 1.3), 99.0)]
            ),
            NORMAL,
        )
        below = verdict(
            np.concatenate(
                [RNG.normal(size=n - round(n * found.threshold * 0.5)), np.full(round(n * found.threshold * 0.5), 99.0)]
            ),
            NORMAL,
        )
        assert (beyond.verdict, below.verdict) == ("drift", "ok")


def test_what_windows_differ_by_themselves_is_no_drift() -> None:
    shifted = RNG.normal(0.5, 1, size=2000)
    assert verdict(shifted, NORMAL, {"values": Wobble(0.02, 100)}).verdict == "drift"
    assert verdict(shifted, NORMAL, {"values": Wobble(0.15, 100)}).verdict == "ok"
    assert verdict(shifted, NORMAL, {"values": Wobble(0.02, 2)}).verdict == "ok", "two windows teach nothing"


def test_before_a_day_was_seen_only_what_is_glaring_is_drift() -> None:
    assert verdict(RNG.normal(0.5, 1, size=2000), NORMAL, {}).verdict == "ok"
    assert verdict(RNG.normal(3, 1, size=2000), NORMAL, {}).verdict == "drift"


def test_the_more_fields_the_more_evidence_is_asked_for() -> None:
    shifted, same = sketch(RNG.normal(0.55, 1, size=160)), sketch(NORMAL)
    alone = judge({"f": same}, {"f": shifted}, {"f": CALM}).fields["f"]
    names = [f"g{i}" for i in range(200)]
    fields = {name: sketch(RNG.normal(size=160)) for name in names} | {"f": shifted}
    among = judge(dict.fromkeys(fields, same), fields, dict.fromkeys(fields, CALM)).fields["f"]
    assert alone.p_value is not None
    assert among.p_value is not None
    assert among.p_value == pytest.approx(201 * alone.p_value, rel=0.01)
    assert among.threshold is not None
    assert alone.threshold is not None
    assert among.threshold > alone.threshold


@pytest.mark.parametrize(
    ("current", "baseline", "explanation"),
    [
        pytest.param(
            ["red"] * 450 + ["blue"] * 550,
            ["red"] * 200 + ["blue"] * 800,
            '"blue" 80 % -> 55 %, "red" 20 % -> 45 %; 25 % of the values moved',
            id="choices",
        ),
        pytest.param(
            [1] * 800 + [7] * 200,
            [1] * 1000,
            "1 100 % -> 80 %, 7 0 % -> 20 % (new); 20 % of the values moved",
            id="a new value",
        ),
        pytest.param([1.5] * 880 + [None] * 120, [1.5] * 1000, "missing 0 % -> 12 %", id="missing"),
        pytest.param(
            [1.5] * 700 + ["1.5"] * 300, [1.5] * 1000, "number 100 % -> 70 %, string 0 % -> 30 % (new)", id="types"
        ),
        pytest.param([None] * 1000, [1.5] * 1000, "missing 0 % -> 100 %", id="gone"),
        pytest.param(
            [True] * 900 + [False] * 100,
            [True, False] * 500,
            "false 50 % -> 10 %, true 50 % -> 90 %; 40 % of the values moved",
            id="booleans",
        ),
        pytest.param(
            [f"{i:09}" for i in range(200)],
            [f"{i:05}" for i in range(200)],
            "median length 5 -> 9; 100 % of the values moved",
            id="ids",
        ),
    ],
)
def test_drift_in_words(current: list[object], baseline: list[object], explanation: str) -> None:
    found = verdict(current, baseline)
    assert (found.verdict, found.explanation) == ("drift", explanation)


def test_a_spread_is_told_by_its_range() -> None:
    found = verdict(RNG.normal(0, 3, size=2000), NORMAL)
    assert found.verdict == "drift"
    assert re.search(r"90 % of values -1\.[567]", found.explanation), "sketches of the same values differ a little"


def test_too_few_values_and_no_baseline() -> None:
    assert verdict(NORMAL[:49], NORMAL).explanation == "49 values, at least 50 are needed"
    assert verdict(NORMAL[:49], NORMAL).verdict == "too_few"
    assert verdict(NORMAL[:50], NORMAL).verdict == "ok"
    assert verdict(NORMAL, NORMAL[:20]).verdict == "too_few"
    assert verdict(NORMAL, []).verdict == "no_baseline"
    assert judge({}, {"f": sketch(NORMAL)}).verdict == "no_baseline"
    assert judge({"column": sketch(NORMAL)}, {}).verdict == "no_baseline"


def test_one_constant_value_is_no_drift() -> None:
    assert verdict([1.0] * 100, [1.0] * 100).verdict == "ok"


def test_a_field_that_no_request_has_any_more_is_missing() -> None:
    baseline = {"f": sketch(NORMAL), "g": sketch(NORMAL)}
    current = with_absent({"g": sketch(NORMAL[:500])}, baseline)
    found = judge(baseline, current, {"f": CALM, "g": CALM})
    assert (found.fields["f"].verdict, found.fields["f"].explanation) == ("drift", "missing 0 % -> 100 %")
    assert found.fields["g"].verdict == "ok"


def test_infinities_and_nan_do_not_stop_the_others() -> None:
    found = verdict([math.inf, math.nan, *RNG.normal(size=1000).tolist()], NORMAL)
    assert found.verdict == "ok"


def test_an_api_drifts_if_a_field_does() -> None:
    assert overall(["ok", "drift", "too_few"]) == "drift"
    assert overall(["no_baseline", "ok", "too_few"]) == "ok"
    assert overall(["no_baseline", "too_few"]) == "too_few"
    assert overall([]) == "no_baseline"
