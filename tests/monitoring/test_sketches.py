"""What a field's sketch knows, and that it knows the same however its values came in."""

from __future__ import annotations

import json
import math
import statistics
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.monitoring.sketches import (
    FORMAT_VERSION,
    KLL_K,
    MAX_FEW_NUMBERS,
    MAX_TEXT_CHARS,
    BadSketch,
    Column,
    FieldSketch,
    merged,
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(width=32),
    st.text(max_size=80),
    st.just([1]),
    st.just({}),
)
# Ranks hold within the stated error in 99 of 100 sketches. Three times that never fails in practice, and still catches
# a merge that loses or doubles something.
RANK_TOLERANCE = 3 * 0.0133


def sketch(column: Column, absent: int = 0) -> FieldSketch:
    made = FieldSketch()
    made.update(column, absent)
    return made


def exact(found: FieldSketch) -> object:
    """Everything that must not depend on order or on how values were split, except for rounding of doubles."""
    numeric, texts, categories = found.numeric, found.texts, found.categories
    return (
        (found.count, found.missing, found.types, found.kind, found.distinct),
        numeric and (numeric.count, numeric.low, numeric.high, numeric.few),
        texts and (texts.lengths.count, texts.lengths.low, texts.lengths.high, texts.lengths.few),
        categories and (dict(categories.counts), categories.total, categories.error),
    )


@given(st.lists(st.lists(SCALARS, max_size=8), max_size=5))
def test_parts_merge_to_the_same_as_the_whole_in_any_order(parts: list[list[object]]) -> None:
    whole = sketch([value for part in parts for value in part])
    forwards = merged(sketch(part) for part in parts)
    backwards = merged(sketch(part) for part in reversed(parts))
    assert exact(forwards) == exact(backwards) == exact(whole)
    if whole.numeric is not None and forwards.numeric is not None:
        assert forwards.numeric.mean == pytest.approx(whole.numeric.mean, rel=1e-9, abs=1e-30)
        assert forwards.numeric.squares == pytest.approx(whole.numeric.squares, rel=1e-6, abs=1e-30)


@given(st.lists(SCALARS, max_size=30))
def test_nothing_is_lost_in_bytes(column: list[object]) -> None:
    before = sketch(column, absent=3)
    after = FieldSketch.from_bytes(before.to_bytes())
    assert exact(after) == exact(before)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_moments_are_exact(values: list[float]) -> None:
    numbers = sketch(values).numeric
    assert numbers is not None
    assert (numbers.count, numbers.low, numbers.high) == (len(values), min(values), max(values))
    assert numbers.total == pytest.approx(math.fsum(values), rel=1e-9, abs=1e-6)
    if len(values) > 1:
        assert numbers.sd == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


def test_spread_survives_a_large_mean() -> None:
    """The textbook sum of squares gives 0 or a negative number here."""
    parts = [np.array([1e9 + 4, 1e9 + 7]), np.array([1e9 + 13, 1e9 + 16])]
    numbers = merged(sketch(part) for part in parts).numeric
    assert numbers is not None
    assert numbers.sd == pytest.approx(math.sqrt(30))


@pytest.mark.parametrize("n_parts", [1, 7, 60])
def test_ranks_stay_within_the_stated_error_however_many_were_merged(n_parts: int) -> None:
    values = np.random.default_rng(1).lognormal(size=60_000)
    numbers = merged(sketch(part) for part in np.array_split(values, n_parts)).numeric
    assert numbers is not None
    assert numbers.rank_error == pytest.approx(0.0133, abs=1e-4)
    points, shares = numbers.points()
    true_shares = np.searchsorted(np.sort(values), points, side="right") / values.size
    assert np.abs(shares - true_shares).max() < RANK_TOLERANCE
    assert (numbers.at([0])[0], numbers.at([1])[0]) == (values.min(), values.max())
    median = numbers.at([0.5])[0]
    assert abs((values <= median).mean() - 0.5) < RANK_TOLERANCE


def test_few_values_are_kept_as_they_are() -> None:
    values = np.arange(KLL_K, dtype=np.float64)
    numbers = sketch(values).numeric
    assert numbers is not None
    assert numbers.rank_error == 0
    points, shares = numbers.points()
    assert points.tolist() == values.tolist()
    assert shares[-1] == 1


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        pytest.param([], "empty", id="nothing"),
        pytest.param([None, math.nan], "empty", id="only missing"),
        pytest.param([True, False], "boolean", id="booleans are no numbers"),
        pytest.param([0, 1, 2.0, 1], "categorical", id="a few whole numbers"),
        pytest.param([0.5, 1.5], "numeric", id="few numbers, but not whole"),
        pytest.param(list(range(MAX_FEW_NUMBERS + 1)), "numeric", id="many whole numbers"),
        pytest.param(["a", "b"] * 20, "categorical", id="the same texts again"),
        pytest.param([f"user {i}" for i in range(40)], "text", id="ids"),
        pytest.param(["a", *(f"user {i}" for i in range(40)), "a"], "text", id="mostly ids"),
        pytest.param(["x" * (MAX_TEXT_CHARS + 1)] * 40, "text", id="long texts are not counted one by one"),
        pytest.param(["1", 2, 3], "categorical", id="the most frequent type decides"),
        pytest.param([[1], {}, [2]], "other", id="lists and objects"),
    ],
)
def test_kind(column: list[object], kind: str) -> None:
    assert sketch(column).kind == kind


def test_a_field_that_changes_its_type_is_known_by_both() -> None:
    found = merged([sketch([1.5] * 30), sketch(["1.5"] * 50)])
    assert found.types == {"number": 30, "string": 50}
    assert found.kind == "categorical"
    assert found.numeric is not None
    assert found.numeric.count == 30
    assert found.texts is not None
    assert found.texts.lengths.mean == 3


def test_null_absent_and_nan_are_missing_and_infinities_have_no_mean() -> None:
    found = sketch([None, math.nan, math.inf, -math.inf, 2.0, 10**400], absent=5)
    assert (found.count, found.missing, found.present) == (11, 7, 4)
    assert found.types == {"number": 1, "infinity": 3}
    assert found.numeric is not None
    assert found.numeric.mean == 2


def test_an_array_says_the_same_as_a_list() -> None:
    column = [1.0, math.nan, 3.5, -0.0, math.inf]
    assert exact(sketch(np.array(column))) == exact(sketch(column))


def test_values_are_told_apart_by_type() -> None:
    categories = sketch([1, 1.0, True, "1", "true", -0.0, 0.25]).categories
    assert categories is not None
    assert categories.counts == {"1": 2, "true": 1, '"1"': 1, '"true"': 1, "0": 1, "0.25": 1}
    assert (categories.total, categories.error) == (7, 0)
    assert categories.top(1) == [("1", 2)]


def test_counts_of_many_texts_are_never_too_high_and_at_most_the_error_too_low() -> None:
    texts = [f"rare {i}" for i in range(2000)] + ["often"] * 6000 + ["also"] * 3000
    np.random.default_rng(2).shuffle(texts)
    categories = merged(sketch(texts[i : i + 100]) for i in range(0, len(texts), 100)).categories
    assert categories is not None
    assert 0 < categories.error <= 0.055 * len(texts)
    for text, true_count in (("often", 6000), ("also", 3000)):
        assert true_count - categories.error <= categories.counts[json.dumps(text)] <= true_count


def test_how_many_different_values() -> None:
    assert sketch(np.arange(20_000) / 7).distinct == pytest.approx(20_000, rel=0.15)
    assert sketch([1, 1.0, "1", "1", True, None]).distinct == 2


def test_texts_may_hold_any_character_json_allows() -> None:
    found = sketch(["\ud800", "é", "\x00", "日本"])
    assert found.distinct == 4
    assert exact(FieldSketch.from_bytes(found.to_bytes())) == exact(found)


def test_a_histogram_counts_every_value_once() -> None:
    numbers = sketch(np.arange(100, dtype=np.float64)).numeric
    assert numbers is not None
    assert numbers.histogram([0, 10, 50, 99]) == [10, 40, 50]
    assert numbers.histogram([20, 30, 40]) == [30, 70]
    assert numbers.histogram([0, 1]) == [100]


def test_in_short_only_what_stands_out_of_ids_is_kept() -> None:
    found = sketch([*(f"ann{i:04}@example.org" for i in range(1000)), *["anonymous"] * 200])
    kept = FieldSketch.from_bytes(found.to_bytes(in_short=True))
    assert b"@example.org" in found.to_bytes()
    assert b"@example.org" not in found.to_bytes(in_short=True)
    assert (kept.kind, kept.count, kept.distinct, kept.types) == ("text", 1200, found.distinct, {"string": 1200})
    counts = kept.counts()
    assert counts is not None
    assert counts.counts.keys() == {'"anonymous"'}
    assert counts.counts['"anonymous"'] <= 200 <= counts.counts['"anonymous"'] + counts.error
    assert counts.error < 0.06 * 1200
    twice = merged([kept, kept]).counts()
    assert twice is not None
    assert twice.error >= 2 * counts.error
    assert len(found.to_bytes()) - len(found.to_bytes(in_short=True)) > 500


def test_in_short_a_choice_keeps_its_texts_and_so_do_a_few_texts_that_may_be_one() -> None:
    for column in (["red", "green"] * 100, [f"v{i}" for i in range(40)]):
        found = sketch(column)
        assert FieldSketch.from_bytes(found.to_bytes(in_short=True)).counts() == found.counts()
    hours = [FieldSketch.from_bytes(sketch([f"v{i}" for i in range(40)]).to_bytes(in_short=True)) for _ in range(3)]
    assert merged(hours).kind == "categorical"


def test_bytes_of_the_release_before_can_be_read() -> None:
    found = sketch(["a", "b"] * 30)
    body = found.to_bytes()[5:-12]  # without the last part and its length
    before = struct.pack("<BI", FORMAT_VERSION, zlib.crc32(body)) + body
    assert FieldSketch.from_bytes(before).counts() == found.counts()


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(np.random.default_rng(3).normal(size=500_000), id="numbers"),
        pytest.param([f"{'é' * MAX_TEXT_CHARS}{i}"[-MAX_TEXT_CHARS:] for i in range(5_000)], id="texts"),
        pytest.param([f"{'x' * 60}{i % 48}" for i in range(5_000)], id="texts that come again"),
    ],
)
def test_a_field_stays_small(column: Column) -> None:
    assert len(sketch(column).to_bytes()) < 12_000


def test_damaged_bytes_and_other_versions_are_refused() -> None:
    data = sketch([1.0, "a"]).to_bytes()
    with pytest.raises(BadSketch, match="too short"):
        FieldSketch.from_bytes(b"")
    with pytest.raises(BadSketch, match=f"reads version {FORMAT_VERSION}"):
        FieldSketch.from_bytes(bytes([FORMAT_VERSION + 1]) + data[1:])
    for at in (5, len(data) // 2, len(data) - 1):
        with pytest.raises(BadSketch, match="damaged"):
            FieldSketch.from_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(BadSketch, match="damaged"):
        FieldSketch.from_bytes(data[:-1])
