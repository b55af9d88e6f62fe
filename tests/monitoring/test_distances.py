"""How far two sketches of a field are apart, and what of it is chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hatchway.monitoring.distances import Aspect, Distance, between, of_counts, to_the_rest
from hatchway.monitoring.sketches import Column, FieldSketch, merged

COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 500), min_size=1)


def sketch(column: Column, absent: int = 0) -> FieldSketch:
    made = FieldSketch()
    made.update(column, absent)
    return made


def distance(current: Column, baseline: Column, aspect: Aspect = "values") -> Distance:
    found = between(aspect, sketch(current), sketch(baseline))
    assert found is not None
    return found


def test_small_samples_are_compared_exactly() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=80), rng.normal(0.5, 1, size=150)
    found = distance(ours, theirs)
    expected = stats.ks_2samp(ours, theirs)
    assert found.statistic == found.effect == pytest.approx(float(expected.statistic))
    assert found.chance(found.length) == pytest.approx(float(expected.pvalue), rel=0.3)


def test_what_sketches_may_be_wrong_by_is_no_evidence() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.normal(0.5, 1, size=50_000), rng.normal(size=50_000)
    found = distance(ours, theirs)
    true = float(stats.ks_2samp(ours, theirs).statistic)
    assert true - 0.04 < found.effect < true
    assert found.effect == pytest.approx(found.raw - math.sqrt(2) * 0.0133, abs=1e-4)


def test_the_same_values_are_no_distance() -> None:
    values = np.random.default_rng(3).normal(size=150)
    assert distance(values, values).length == 0


def test_choices_are_compared_by_chi_square_and_by_what_moved() -> None:
    found = distance(["a"] * 50 + ["b"] * 50, ["a"] * 60 + ["b"] * 140)
    expected = stats.chi2_contingency([[50, 50], [60, 140]], correction=False)
    assert found.effect == pytest.approx(0.2)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.freedom == 1
    assert found.chance(found.length) == pytest.approx(expected.pvalue)


def test_a_value_the_baseline_never_had_counts() -> None:
    found = distance([1] * 50 + [3] * 50, [1] * 50 + [2] * 50)
    assert found.effect == pytest.approx(0.5)


def test_rare_values_go_together_until_five_are_expected() -> None:
    rare = [f"rare {i}" for i in range(20)]
    found = of_counts({"often": 100, **dict.fromkeys(rare, 1)}, {"often": 100, **dict.fromkeys(rare, 2)})
    assert found is not None
    assert found.freedom == 5, "often, and five groups of four"


@given(COUNTS, COUNTS)
def test_of_counts_is_symmetric_and_within_bounds(ours: dict[str, int], theirs: dict[str, int]) -> None:
    found, back = of_counts(ours, theirs), of_counts(theirs, ours)
    if found is None:
        assert back is None
        return
    assert back is not None
    assert back.length == pytest.approx(found.length)
    assert 0 <= found.effect <= 1 + 1e-12
    assert found.effect <= found.length / 2 + 1e-12, "drift.py makes thresholds by this"
    assert found.freedom >= 1


def test_counts_of_frequent_items_are_not_trusted_beyond_their_error() -> None:
    rng = np.random.default_rng(4)
    columns = []
    for _ in range(2):
        column = [f"rare {i}" for i in rng.integers(0, 2000, size=3000)] + ["often"] * 4000
        rng.shuffle(column)
        columns.append(merged(sketch(column[i : i + 500]) for i in range(0, len(column), 500)))
    found = between("values", *columns)
    assert found is not None
    assert found.effect < 0.01


def test_a_choice_that_becomes_a_quantity_is_compared_as_numbers() -> None:
    found = distance(np.arange(100, dtype=np.float64), [1, 2] * 50)
    assert found.test == "ks"
    assert found.effect == pytest.approx(0.97)


def test_a_choice_of_which_few_values_were_seen_is_still_a_choice() -> None:
    """41 texts, one of them twice: alone they might be ids."""
    values = [f"v{i % 40}" for i in range(600)]
    found = distance([*values[:40], "v1"], values)
    assert (found.test, found.effect < 0.2) == ("chi2", True)


def test_a_choice_that_became_ids_changed() -> None:
    found = distance([f"id {i}" for i in range(300)], ["a", "b"] * 200)
    assert found.test == "chi2"
    assert found.effect > 0.9


def test_a_choice_that_became_ids_changed_also_if_the_ids_were_not_kept() -> None:
    ids = FieldSketch.from_bytes(sketch([f"id {i:04}" for i in range(1000)]).to_bytes(in_short=True))
    found = between("values", ids, sketch(["id aaaa", "id bbbb"] * 200))
    assert found is not None
    assert (found.test, found.effect > 0.8) == ("chi2", True)


def test_texts_are_compared_by_length() -> None:
    found = distance([f"{i:050}" for i in range(100)], [f"{i:030}" for i in range(100)])
    assert (found.test, found.effect) == ("ks", 1)


def test_missing_and_types() -> None:
    current, baseline = [1.5] * 60 + [None] * 20 + ["x"] * 20, [1.5] * 100
    assert distance(current, baseline, "missing").effect == pytest.approx(0.2)
    assert distance(current, baseline, "types").effect == pytest.approx(0.25)


def test_nothing_to_compare() -> None:
    assert between("values", sketch([None] * 100), sketch([1.5] * 100)) is None
    assert between("missing", sketch([1.5] * 100), sketch([1.5] * 100)) is None
    assert between("types", sketch([1.5] * 100), sketch([1.5] * 100)) is None


def test_a_part_is_as_far_from_the_rest_as_if_the_whole_had_been_without_it() -> None:
    rng = np.random.default_rng(5)
    part, rest = rng.normal(1, 1, size=60), rng.normal(size=120)
    whole = between("values", sketch(part), merged([sketch(part), sketch(rest)]))
    assert whole is not None
    found = to_the_rest(whole)
    assert found is not None
    assert found.raw == pytest.approx(distance(part, rest).raw)
    assert found.n_baseline == 120
    assert to_the_rest(distance(part, part)) is None
