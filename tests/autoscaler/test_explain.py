"""Decisions in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hatchway.autoscaler.decision import Decision, Fixed, Limit, Load, Recommendation, Rule
from hatchway.autoscaler.explain import explain
from tests.autoscaler.story import Story, a_sample, a_scaling

DOWN: Rule = "downscale_stabilization_period"
UP: Rule = "upscale_stabilization_period"
CALM = Load(9.0, 9.4, 9.0, False, 9.4, 5, 0.0)
SMALL = replace(CALM, average=5.1, demand=5.1, wanted=3)
BURST = replace(CALM, average=2.9, panic_average=13.7, is_panicking=True, demand=13.7, wanted=7)
IDLE = Load(0.0, 0.0, 0.0, False, 0.0, 0, 12.0)


def a_decision(current: int, replicas: int, load: Load | None, *limits: Limit) -> Decision:
    return Decision(
        replicas=replicas,
        current=current,
        base=current,
        recommended=replicas,
        would=replicas,
        target=2.0,
        window_s=30.0,
        panic_window_s=3.0,
        load=load,
        limits=limits,
    )


SENTENCES = [
    (
        a_decision(3, 5, CALM),
        "3 -> 5 replicas: 9.4 in flight on average over 30 s, target 2",
    ),
    (
        a_decision(5, 5, CALM),
        "stays at 5: 9.4 in flight on average over 30 s, target 2",
    ),
    (
        a_decision(2, 7, BURST),
        "2 -> 7 replicas: 13.7 in flight on average over 3 s (2.9 over 30 s), target 2",
    ),
    (
        a_decision(5, 5, SMALL, Limit(DOWN, 300, 3, 5, 250, Recommendation(5, 50))),
        "stays at 5: 3 would do, but the downscale waits until there was less for 5 min (4 min 10 s to go)",
    ),
    (
        a_decision(1, 1, CALM, Limit(UP, 60, 5, 1, 20.5)),
        "stays at 1: 5 are wanted, but the upscale waits until there was more for 1 min (21 s to go)",
    ),
    (
        a_decision(9, 6, SMALL, Limit(DOWN, 300, 3, 6, 0, Recommendation(6, 100))),
        "9 -> 6 replicas: 5.1 in flight on average over 30 s, target 2; 3 would do, but 6 were wanted 1 min 40 s ago",
    ),
    (
        a_decision(2, 3, CALM, Limit("max_upscale_factor", 1.5, 5, 3)),
        "2 -> 3 replicas: 9.4 in flight on average over 30 s, target 2; 5 are wanted, but max_upscale_factor is 1.5",
    ),
    (
        a_decision(20, 15, SMALL, Limit("max_downscale_factor", 0.75, 3, 15)),
        "20 -> 15 replicas: 5.1 in flight on average over 30 s, target 2; 3 would do, but max_downscale_factor is 0.75",
    ),
    (
        a_decision(4, 4, CALM, Limit("max_replicas", 4, 5, 4)),
        "stays at 4: 5 are wanted, but max_replicas is 4",
    ),
    (
        a_decision(1, 1, IDLE, Limit("min_replicas", 1, 0, 1)),
        "stays at 1: none would do, but min_replicas is 1",
    ),
    (
        a_decision(5, 5, replace(CALM, demand=10.2, average=10.2, wanted=6), Limit("upscale_tolerance", 0.05, 6, 5)),
        "stays at 5: 10.2 in flight on average over 30 s, target 2, which is within upscale_tolerance (5 %) above it",
    ),
    (
        a_decision(9, 9, replace(CALM, demand=16, average=16, wanted=8), Limit("downscale_tolerance", 0.2, 8, 9)),
        "stays at 9: 16 in flight on average over 30 s, target 2, which is within downscale_tolerance (20 %) below it",
    ),
    (
        a_decision(5, 5, replace(BURST, wanted=3), Limit("panic", 30, 3, 5)),
        "stays at 5: 3 would do, but nothing is taken away until a burst is 30 s past",
    ),
    (
        a_decision(1, 1, IDLE, Limit("window", 30, 0, 1)),
        "stays at 1: none would do, but the last request came 12 s ago, within the window of 30 s",
    ),
    (
        a_decision(1, 1, replace(IDLE, idle_s=None), Limit("window", 30, 0, 1)),
        "stays at 1: none would do, but requests have not been watched for the window of 30 s yet",
    ),
    (
        a_decision(5, 5, CALM, Limit("tick", 1, 6, 5)),
        "stays at 5: 5 would do, but the last decision was less than 1 s ago",
    ),
    (
        a_decision(0, 3, replace(IDLE, in_flight=6, average=0.2, demand=6, wanted=3)),
        "0 -> 3 replicas: 6 wait, target 2",
    ),
    (
        a_decision(0, 1, replace(IDLE, in_flight=1, average=0.03, demand=1, wanted=1)),
        "0 -> 1 replica: 1 waits, target 2",
    ),
    (
        a_decision(0, 1, replace(IDLE, idle_s=0.0), Limit("window", 30, 0, 1)),
        "0 -> 1 replica: a request came and went",
    ),
    (
        replace(a_decision(1, 0, replace(IDLE, idle_s=12)), is_crowded=True),
        "1 -> 0 replicas: no request for 12 s, and others wait for room",
    ),
    (
        a_decision(1, 0, replace(IDLE, idle_s=330)),
        "1 -> 0 replicas: no request for 5 min 30 s",
    ),
    (
        a_decision(0, 0, replace(IDLE, idle_s=None)),
        "stays at 0: no request yet",
    ),
    (
        a_decision(3, 3, None),
        "stays at 3: no figures of requests, so nothing moves",
    ),
    (
        replace(a_decision(20, 10, CALM), base=10),
        "20 -> 10 replicas: max_replicas is 10 now",
    ),
    (
        replace(a_decision(1, 2, None), base=2),
        "1 -> 2 replicas: min_replicas is 2 now",
    ),
    (
        replace(a_decision(5, 4, SMALL, Limit("fixed", 4, 3, 4)), would=3, fixed_s=540.0),
        "5 -> 4 replicas: set by hatchway scale for another 9 min; requests alone ask for 3 "
        "(5.1 in flight on average over 30 s, target 2)",
    ),
    (
        replace(a_decision(4, 4, None), fixed_s=7.2),
        "stays at 4: set by hatchway scale for another 8 s",
    ),
    (
        a_decision(1, 1, replace(CALM, average=0.03, demand=0.03, wanted=1)),
        "stays at 1: under 0.1 in flight on average over 30 s, target 2",
    ),
]


@pytest.mark.parametrize(("decision", "sentence"), SENTENCES, ids=[sentence[:60] for _, sentence in SENTENCES])
def test_a_decision_in_one_sentence(decision: Decision, sentence: str) -> None:
    assert explain(decision) == sentence


@pytest.mark.parametrize("decision", [decision for decision, _ in SENTENCES])
def test_a_recorded_decision_says_the_same(decision: Decision) -> None:
    read = Decision.from_dict(json.loads(json.dumps(decision.to_dict())))
    assert read == decision
    assert explain(read) == explain(decision)


def test_a_made_decision_says_what_a_written_one_says() -> None:
    story = Story(a_scaling(target_in_flight=2, init_replicas=3))
    story.run(29, 9)
    assert explain(story.run(1, 9)) == "stays at 5: 9 in flight on average over 30 s, target 2"
    assert [explain(told) for _, told in story.told if told.is_move] == [
        "3 -> 5 replicas: 9 in flight on average over 30 s, target 2"
    ]
    story.run(300, 9)
    assert explain(story.run(60, 5)) == (
        "stays at 5: 3 would do, but the downscale waits until there was less for 5 min (4 min 7 s to go)"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "0.3 s"), (59.2, "1 min"), (3600, "1 h"), (3905, "1 h 5 min"), (90_061, "1 d 1 h")],
)
def test_spans_of_time(seconds: float, said: str) -> None:
    decision = replace(a_decision(1, 0, IDLE), load=replace(IDLE, idle_s=seconds))
    assert explain(decision) == f"1 -> 0 replicas: no request for {said}"


def test_what_is_news() -> None:
    story = Story(a_scaling())
    first, steady = story.tick(a_sample(1)), story.tick(a_sample(1))
    assert first.is_news_after(None)
    assert not steady.is_news_after(first)
    moved = story.tick(a_sample(20), tick_s=0.1)
    assert moved.is_news_after(steady)
    again = story.tick(a_sample(200))
    assert [limit.rule for limit in again.limits] == ["max_replicas", "tick"]
    assert not again.is_news_after(moved)
    assert story.tick(None).is_news_after(moved)
    steady = story.run(60, 10)
    assert not story.tick(a_sample(10)).is_news_after(steady)
    story.fixed = Fixed(story.replicas, until=story.now + 60)
    fixed = story.tick(a_sample(10))
    assert fixed.is_news_after(steady)
    assert not story.tick(a_sample(10)).is_news_after(fixed)
