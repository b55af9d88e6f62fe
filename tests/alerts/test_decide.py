"""Alerts over time, told as steps: raised once, resolved once, and only by facts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hatchway.alerts.decide import CALM_S, CRASH_WINDOW_S, Alert, Facts, Failure, Memory, Rule, Traffic, decide

RULE = Rule(error_rate=0.05, window_s=300, min_requests=20)


@dataclass
class Story:
    """One API over a time that passes when it is told to."""

    rule: Rule = RULE
    now: float = 1000.0
    memory: Memory = field(default_factory=Memory)

    def look(self, facts: Facts, after_s: float = 5.0) -> list[Alert]:
        self.now += after_s
        self.memory, alerts = decide("iris", self.rule, facts, self.memory, self.now)
        return alerts

    def words(self, facts: Facts, after_s: float = 5.0) -> list[str]:
        return [
            f"{alert.kind} {'raised' if alert.ended_at is None else 'resolved'}" for alert in self.look(facts, after_s)
        ]


def traffic(requests: int, errors: int, covered_s: float = 300) -> Facts:
    return Facts(traffic=Traffic(requests, errors, covered_s))


# --- error rates ---------------------------------------------------------------------------------------------
def test_one_error_of_one_request_is_no_storm() -> None:
    assert Story().look(traffic(1, 1)) == []
    assert Story().look(traffic(19, 19)) == []
    assert Story().words(traffic(20, 20)) == ["HighErrorRate raised"]


def test_an_error_rate_is_told_once_and_ends_once() -> None:
    story = Story()
    assert story.look(traffic(100, 5)) == []  # the limit itself is allowed
    (raised,) = story.look(traffic(100, 6))
    assert raised.message == "6% of 100 requests in the last 5 minutes were answered with 5xx; the limit is 5%"
    assert story.look(traffic(100, 50)) == []
    assert story.look(traffic(100, 4)) == []  # below the limit, but not by much
    assert story.words(traffic(100, 6)) == []
    (resolved,) = story.look(traffic(100, 2))
    assert resolved.started_at == raised.started_at
    assert resolved.ended_at == story.now
    assert story.look(traffic(100, 2)) == []


def test_a_rate_that_hovers_around_the_limit_is_one_alert() -> None:
    story = Story()
    told = [word for errors in [6, 4, 6, 3, 6, 4] * 10 for word in story.words(traffic(100, errors))]
    assert told == ["HighErrorRate raised"]


def test_silence_ends_an_alert_only_when_the_whole_window_was_seen() -> None:
    story = Story()
    story.look(traffic(100, 50))
    assert story.look(traffic(0, 0, covered_s=10)) == []  # an engine that has just started knows nothing
    assert story.look(traffic(40, 0, covered_s=60)) == []
    assert story.look(Facts(traffic=None)) == []
    assert story.words(traffic(0, 0)) == ["HighErrorRate resolved"]


def test_a_limit_of_zero_raises_at_the_first_error_and_ends_with_the_last() -> None:
    story = Story(Rule(error_rate=0.0, window_s=60, min_requests=1))
    assert story.look(traffic(1000, 0)) == []
    assert story.words(traffic(1000, 1)) == ["HighErrorRate raised"]
    assert story.words(traffic(1000, 0)) == ["HighErrorRate resolved"]


# --- updates -------------------------------------------------------------------------------------------------
def failed(revision: str = "r2", *, is_serving: bool = True) -> Facts:
    return Facts(failure=Failure(revision, "ImportError: no module named nope", is_serving))


def test_an_update_that_fails_is_told_until_one_succeeds() -> None:
    story = Story()
    assert story.look(Facts(is_updating=True)) == []
    (alert,) = story.look(failed())
    assert (alert.kind, alert.severity) == ("RolloutFailed", "warning")
    assert "revision r2 failed: ImportError" in alert.message
    assert story.look(failed()) == []
    assert story.look(Facts(is_updating=True)) == []  # the next try: how it ends counts
    assert story.words(failed("r3")) == ["RolloutFailed raised"]  # another revision is other news
    assert story.words(Facts()) == ["RolloutFailed resolved"]


def test_a_failure_that_leaves_nobody_to_answer_is_critical() -> None:
    assert [alert.severity for alert in Story().look(failed(is_serving=False))] == ["critical"]


# --- crash loops ---------------------------------------------------------------------------------------------
def test_three_restarts_in_a_short_time_are_a_loop() -> None:
    story = Story()
    assert story.look(Facts(restarts={"a": 7, "b": 0})) == []  # what was before we looked does not count
    assert story.look(Facts(restarts={"a": 8, "b": 0})) == []
    assert story.look(Facts(restarts={"a": 8, "b": 1})) == []
    (alert,) = story.look(Facts(restarts={"a": 9, "b": 1}))
    assert alert.message == "replicas ended 3 times in the last 5 minutes"
    assert story.look(Facts(restarts={"a": 30, "b": 1})) == []
    assert story.look(Facts(restarts={"a": 30, "b": 1}), after_s=CALM_S - 1) == []
    assert story.words(Facts(restarts={"a": 30, "b": 1}), after_s=1) == ["CrashLoop resolved"]


def test_replicas_that_all_end_once_are_no_loop() -> None:
    story = Story()
    story.look(Facts(restarts=dict.fromkeys("abcd", 0)))
    assert story.look(Facts(restarts=dict.fromkeys("abcd", 1))) == []  # the machine was restarted
    assert story.words(Facts(restarts={**dict.fromkeys("bcd", 1), "a": 2})) == ["CrashLoop raised"]


def test_one_replica_of_many_that_loops_is_told() -> None:
    story = Story()
    many = {f"r{n}": 0 for n in range(50)}
    story.look(Facts(restarts=many))
    assert story.look(Facts(restarts={**many, "r7": 2})) == []
    assert story.words(Facts(restarts={**many, "r7": 3})) == ["CrashLoop raised"]


def test_a_loop_ends_though_the_clock_was_set_back_by_a_day() -> None:
    story = Story(now=100_000.0)
    story.look(Facts(restarts={"a": 0}))
    assert story.words(Facts(restarts={"a": 3})) == ["CrashLoop raised"]
    assert story.look(Facts(restarts={"a": 3}), after_s=-86400) == []
    assert story.words(Facts(restarts={"a": 3}), after_s=CALM_S) == ["CrashLoop resolved"]


def test_restarts_that_are_far_apart_are_no_loop() -> None:
    story = Story()
    for count in range(20):
        assert story.look(Facts(restarts={"a": count}), after_s=CRASH_WINDOW_S / 2) == []


def test_a_replica_that_waits_to_be_started_again_keeps_its_loop_alive() -> None:
    story = Story()
    loop = Facts(restarts={"a": 2}, loops=("replica a: CrashLoop: it ended 2 times in a row",))
    assert story.words(loop) == ["CrashLoop raised"]
    for _ in range(10):
        assert story.look(loop, after_s=60) == []
    assert story.look(Facts(restarts={"a": 2}), after_s=60) == []
    assert story.words(Facts(restarts={"a": 2}), after_s=60) == ["CrashLoop resolved"]


# --- drift ---------------------------------------------------------------------------------------------------
def test_drift_is_one_alert_for_all_fields_and_news_when_more_join() -> None:
    story = Story()
    assert story.look(Facts(drift={"a": "ok", "b": "too_few"})) == []
    (alert,) = story.look(Facts(drift={"a": "drift", "b": "ok"}))
    assert alert.message == "live data differs from the baseline in a"
    assert story.words(Facts(drift={"a": "drift", "b": "drift"})) == ["Drift raised"]
    assert story.look(Facts(drift={"a": "drift", "b": "ok"})) == []  # one of them left
    assert story.look(Facts(drift={"a": "drift", "b": "drift"})) == []  # and came back: nothing new
    assert story.look(Facts(drift=None)) == []
    assert story.look(Facts(drift={"a": "too_few", "b": "too_few"})) == []
    assert story.words(Facts(drift={"a": "ok", "b": "ok"})) == ["Drift resolved"]


def test_many_fields_are_counted() -> None:
    (alert,) = Story().look(Facts(drift={f"f{n}": "drift" for n in range(9)}))
    assert alert.message.endswith("f0, f1, f2, f3, f4 and 4 more")


# --- all of them ---------------------------------------------------------------------------------------------
def test_stopping_an_api_resolves_what_goes_on() -> None:
    story = Story()
    story.look(Facts(traffic=Traffic(100, 50, 300), failure=Failure("r2", "x", True), drift={"a": "drift"}))
    assert story.words(Facts(is_wanted=False)) == ["HighErrorRate resolved", "RolloutFailed resolved", "Drift resolved"]
    assert story.look(Facts(is_wanted=False)) == []


def test_memory_survives_being_written_down() -> None:
    story = Story()
    facts = Facts(traffic=Traffic(100, 50, 300), restarts={"a": 3}, loops=("loop",), drift={"a": "drift", "b": "drift"})
    story.look(facts)
    assert Memory.from_dict(story.memory.to_dict()) == story.memory
    story.memory = Memory.from_dict(story.memory.to_dict())
    assert story.look(facts) == []


def test_what_another_release_wrote_is_an_error_that_is_expected() -> None:
    for kept in ({}, {"raised": {"Drift": {"nope": 1}}, "restarts": {}, "crashes": []}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Memory.from_dict(kept)
