"""What is remembered between decisions, over an engine restart and over an outage."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hatchway.autoscaler.memory import OUTAGE_MS, Memory
from hatchway.spec.api import Autoscaling
from tests.autoscaler.story import Story, a_sample, a_scaling

WINDOW_MS = 30_000


def a_memory(now: float = 1000.0) -> Memory:
    """After ten busy minutes, a burst among them."""
    story = Story(a_scaling(), now=now - 600)
    story.run(300, 2)
    story.run(60, 9)
    story.run(240, 1, slots=4)
    return story.memory


def test_it_is_the_same_after_json() -> None:
    memory = a_memory()
    assert Memory.from_dict(json.loads(json.dumps(memory.to_dict(1000.0))), 1000.0) == memory


def test_an_empty_one_is_the_same_after_json() -> None:
    assert Memory.from_dict(json.loads(json.dumps(Memory().to_dict(5.0))), 7.0) == Memory()


def test_on_a_clock_with_another_origin_everything_is_as_old_as_before() -> None:
    left = a_memory().to_dict(1000.0)
    assert Memory.from_dict(left, 3.5).to_dict(3.5) == left


def test_what_was_known_gets_older_while_nobody_looks() -> None:
    left = a_memory().to_dict(1000.0)
    read = Memory.from_dict(left, 50.0, away_s=20.0).to_dict(50.0)
    assert read["sampled_age_ms"] == left["sampled_age_ms"] + 20_000
    assert read["highest"][0][0] == left["highest"][0][0] + 20_000


def test_a_wall_clock_that_was_set_back_makes_nothing_younger() -> None:
    left = a_memory().to_dict(1000.0)
    assert Memory.from_dict(left, 50.0, away_s=-3600.0) == Memory.from_dict(left, 50.0)


@pytest.mark.parametrize("broken", [{}, {"replicas": 1}, {**Memory().to_dict(0.0), "averages": []}])
def test_what_is_not_a_memory_is_an_error(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Memory.from_dict(broken, 0.0)


@pytest.mark.parametrize(
    ("window_ms", "gap_ms", "is_break"),
    [
        (WINDOW_MS, WINDOW_MS, False),
        (WINDOW_MS, WINDOW_MS + 1, True),
        (1000, OUTAGE_MS, False),  # with a short window, late ticks are no outage
        (1000, OUTAGE_MS + 1, True),
    ],
)
def test_figures_without_a_break(window_ms: int, gap_ms: int, is_break: bool) -> None:
    memory = Memory().observed(a_sample(1), window_ms, 5000).observed(a_sample(1), window_ms, 5000 + gap_ms)
    assert memory.observed_ms(5000 + gap_ms) == (0 if is_break else gap_ms)


@pytest.mark.parametrize(
    ("in_flight", "arrived", "replicas", "was_request"),
    [
        pytest.param(1, 0, 1, True, id="one that runs"),
        pytest.param(0, 3, 1, True, id="short ones between two looks"),
        pytest.param(0, 0, 1, False, id="none"),
        pytest.param(0, None, 1, True, id="unknown ones keep an API awake"),
        pytest.param(0, None, 0, False, id="unknown ones wake none"),
    ],
)
def test_when_a_request_was_last_seen(in_flight: int, arrived: int | None, replicas: int, was_request: bool) -> None:
    memory = replace(Memory(), replicas=replicas).observed(a_sample(in_flight, arrived=arrived), WINDOW_MS, 5000)
    assert memory.request_ms == (5000 if was_request else None)


def test_slots_are_remembered_while_no_replica_tells_them() -> None:
    memory = Memory().observed(a_sample(1, slots=64), WINDOW_MS, 0).observed(a_sample(0), WINDOW_MS, 1000)
    assert memory.slots == 64


def test_hours_of_window_and_periods_fit_into_some_kilobytes() -> None:
    hours = 6 * 3600
    scaling = Autoscaling(
        max_replicas=100_000,
        target_in_flight=0.01,
        window=hours,
        upscale_stabilization_period=hours,
        downscale_stabilization_period=hours,
    )
    story = Story(scaling)
    story.run(3 * hours, lambda s: 1000 * (1 - s / (3 * hours)), tick_s=20)
    assert len(json.dumps(story.memory.to_dict(story.now))) < 12_000
