"""The text format, with what makes a scraper stumble: quotes, newlines, numbers that are none."""

from __future__ import annotations

import math

import pytest

from hatchway.metrics.catalogue import METRICS
from hatchway.metrics.text import Family, number


def test_a_family_has_a_head_and_its_samples() -> None:
    family = Family("seen", "counter", "What was seen,\nand where.")
    family.add(2, [("api", "iris"), ("who", 'a"b\\c\nd')])
    family.add(1.5)
    assert family.to_text() == (
        "# HELP seen What was seen,\\nand where.\n"
        "# TYPE seen counter\n"
        'seen{api="iris",who="a\\"b\\\\c\\nd"} 2\n'
        "seen 1.5\n"
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert Family("seen", "gauge").to_text() == ""


def test_a_histogram_ends_with_all_of_its_values() -> None:
    family = Family("took", "histogram")
    family.add_histogram([0.5, 1.0], [1, 3, 4], 2.25, [("api", "iris")])
    family.add_histogram([0.5], [0, 1], 7)
    assert family.to_text() == (
        "# TYPE took histogram\n"
        'took_bucket{api="iris",le="0.5"} 1\n'
        'took_bucket{api="iris",le="1"} 3\n'
        'took_bucket{api="iris",le="+Inf"} 4\n'
        'took_sum{api="iris"} 2.25\n'
        'took_count{api="iris"} 4\n'
        'took_bucket{le="0.5"} 0\n'
        'took_bucket{le="+Inf"} 1\n'
        "took_sum 7\n"
        "took_count 1\n"
    )


def test_of_two_samples_with_the_same_labels_the_first_counts() -> None:
    family = Family("seen", "counter")
    family.add(1, [("api", "iris")])
    family.add(2, [("api", "iris")])
    assert 'seen{api="iris"} 1\n' in family.to_text()
    assert " 2\n" not in family.to_text()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3.0, "3"), (True, "1"), (0.1, "0.1"), (1e300, "1e+300"), (2.0**53, "9007199254740992.0"), (-0.5, "-0.5"),
     (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")],
)  # fmt: skip
def test_numbers_are_exact(value: float, expected: str) -> None:
    assert number(value) == expected


def test_names_are_ours_and_end_as_prometheus_wants() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("hatchway_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
