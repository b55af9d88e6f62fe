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
        standings, report = settle(standings, Report(overall([WORDS[letter]]), fields), 0.0)
        assert report.verdict == report.fields["a"].verdict
        found += letters[report.verdict]
    return found


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        pytest.param("oDDo", "oooo", id="two odd windows are no drift"),
        pytest.param("oDDDD", "oooDD", id="three in a row are"),
        pytest.param("DDoDDoDD", "oooooooo", id="two of three are not"),
        pytest.param("DDDooDooo", "ooDDDDDDo", id="called off by three in a row"),
        pytest.param("DDfD", "oofD", id="too few values say nothing"),
        pytest.param("DDDffoo", "ooDDDDD", id="drift stays while there is no traffic"),
        pytest.param("nnDDD", "nnooD", id="no baseline at first"),
        pytest.param("DDDn", "ooDn", id="the baseline went"),
    ],
)
def test_what_holds(windows: str, expected: str) -> None:
    assert held(windows) == expected


def test_what_the_last_window_said_is_told() -> None:
    once = {"a": FieldVerdict("drift", "median 1 -> 2")}
    standings, report = settle({}, Report("drift", once), 0.0)
    assert report.fields["a"].explanation == "median 1 -> 2 (drift if the next windows agree)"
    for _ in range(2):
        standings, report = settle(standings, Report("drift", once), 0.0)
    assert report.fields["a"].explanation == "median 1 -> 2"
    standings, report = settle(standings, Report("ok", {"a": FieldVerdict("ok", "median 1 -> 1")}), 0.0)
    assert report.fields["a"].explanation == "median 1 -> 1 (not so in the last window)"


def test_more_windows_may_be_asked_for_to_call_drift() -> None:
    standings: dict[str, Standing] = {}
    once = Report("drift", {"a": FieldVerdict("drift", "x")})
    found = []
    for _ in range(6):
        standings, report = settle(standings, once, 0.0, early={"a"})
        found.append(report.verdict)
    assert found == ["ok"] * 5 + ["drift"]


def test_fields_without_values_are_remembered() -> None:
    assert settle({"a": Standing(True)}, Report("ok", {}), 0.0)[0] == {"a": Standing(True)}


def test_drift_began_with_the_first_window_in_a_row_that_showed_it() -> None:
    standings: dict[str, Standing] = {}
    told = []
    for hour, word in enumerate(("drift", "ok", "drift", "drift", "too_few", "drift", "ok", "drift")):
        fields = {"a": FieldVerdict("ok" if word == "ok" else "drift" if word == "drift" else "too_few", "x")}
        standings, report = settle(standings, Report("ok", fields), float(hour))
        told.append(report.fields["a"].since_s)
    assert told == [None] * 5 + [2.0] * 3
