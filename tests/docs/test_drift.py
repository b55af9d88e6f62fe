"""docs/drift.md says what the code does: the table of how many values it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hatchway.monitoring.distances import Distance
from hatchway.monitoring.drift import Rules
from hatchway.monitoring.wobble import Wobble, threshold

PAGE = (Path(__file__).parents[2] / "docs" / "drift.md").read_text()
FIELDS = 50
BASELINE_WINDOWS = 21  # three hours of each of seven days
WEEK = 120  # degrees of freedom about: 168 windows less 24 times of day, and some without traffic
WOBBLES = (0.0, 0.01, 0.03, 0.08)


def test_the_table_of_how_many_values_it_takes() -> None:
    section = PAGE.partition("### How many values")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\d,]+) \|(.*)\|$", section, re.MULTILINE)
    assert len(rows) == 6
    rules = Rules()
    for values, cells in rows:
        n = int(values.replace(",", ""))
        found = Distance("ks", 0, 0, 0, n, BASELINE_WINDOWS * n)
        for told, size in zip(cells.split("|"), WOBBLES, strict=True):
            least = max(rules.min_effect, threshold(found, Wobble(size, WEEK), rules.per_look / FIELDS))
            assert float(told.strip(" %")) == pytest.approx(100 * least, abs=0.51)
