"""A verdict changes when windows in a row agree."""

from __future__ import annotations

import pytest

from hatchway.monitoring.drift import FieldVerdict, Report, Verdict, overall
from hatchway.monitoring.persistence import Standing, settle

WORDS: dict[str, Verdict] = {"o": "ok", "D": "drift", "f": "too_few", "n": "no_baseline"}


def held(windows: str) -> str:
    """What is held after each window: one letter for each."""
    standings: dict[str, Standing] = {}
    letters = {word: letter for letter, word in WORDS.items()}
    found = ""
    for letter in windows:
        fields = {"a": FieldVerdict(WORDS[letter], "x")}
        standings, report = settle(standings, Report(overall([WORDS[letter]]), fields))
        assert report.verdict == report.fields["a"].verdict
        found += letters[report.verdict]
    return found


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        pytest.param("oDo", "ooo", id="one odd window is no drift"),
        pytest.param("oDDD", "ooDD", id="two in a row are"),
        pytest.param("DoDoD", "ooooo", id="every other is not"),
        pytest.param("DDoDoo", "oDDDDo", id="called off by two in a row"),
        pytest.param("DfD", "ofD", id="too few values say nothing"),
        pytest.param("DDffo", "oDDDD", id="drift stays while there is no traffic"),
        pytest.param("nnDD", "nnoD", id="no baseline at first"),
        pytest.param("DDn", "oDn", id="the baseline went"),
    ],
)
def test_what_holds(windows: str, expected: str) -> None:
    assert held(windows) == expected


def test_what_the_last_window_said_is_told() -> None:
    once = {"a": FieldVerdict("drift", "median 1 -> 2")}
    standings, report = settle({}, Report("drift", once))
    assert report.fields["a"].explanation == "median 1 -> 2 (drift if the next window agrees)"
    standings, report = settle(standings, Report("drift", once))
    assert report.fields["a"].explanation == "median 1 -> 2"
    standings, report = settle(standings, Report("ok", {"a": FieldVerdict("ok", "median 1 -> 1")}))
    assert report.fields["a"].explanation == "median 1 -> 1 (not so in the last window)"


def test_fields_without_values_are_remembered() -> None:
    assert settle({"a": Standing(True)}, Report("ok", {}))[0] == {"a": Standing(True)}
