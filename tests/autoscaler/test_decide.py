"""Each parameter's effect on one decision, and the order in which they apply."""

from __future__ import annotations

from typing import Any

import pytest

from hatchway.autoscaler.decide import decide
from hatchway.autoscaler.decision import Decision, Fixed, Sample
from hatchway.autoscaler.memory import Memory
from hatchway.spec.api import Autoscaling
from tests.autoscaler.story import Story, a_sample, a_scaling


def at(replicas: int, load: float, **changes: Any) -> Decision:
    """One decision with so many replicas under a steady load; stabilisation and factors only where asked for."""
    changes = {"downscale_stabilization_period": 0, "max_downscale_factor": 0, "max_upscale_factor": 1000, **changes}
    story = Story(a_scaling(max_replicas=1000, **changes), fixed=Fixed(replicas, until=1100.0))
    story.run(100, load)
    story.fixed = None
    return story.tick(a_sample(load))


def rules(decision: Decision) -> list[str]:
    return [limit.rule for limit in decision.limits]


@pytest.mark.parametrize(
    ("load", "target", "expected"),
    [(0.1, 1, 1), (1, 1, 1), (9.4, 2, 5), (10, 2, 5), (10.1, 2, 6), (3, 0.5, 6), (0.6, 0.2, 3), (7, 0.1, 70)],
)
def test_the_average_divided_by_the_target_rounded_up(load: float, target: float, expected: int) -> None:
    assert at(1, load, target_in_flight=target).replicas == expected


@pytest.mark.parametrize(("slots", "expected"), [(None, 12), (1, 12), (4, 3), (64, 1)])
def test_without_a_target_it_is_the_slots_of_a_replica(slots: int | None, expected: int) -> None:
    scaling = Autoscaling(max_upscale_factor=1000)
    decision, memory = decide(scaling, Memory(), a_sample(12, slots=slots), 0.0)
    assert (decision.replicas, decision.target) == (expected, slots or 1)
    again, _ = decide(scaling, memory, None, 1.0)
    assert again.target == decision.target


@pytest.mark.parametrize(
    ("replicas", "load", "up", "down", "expected"),
    [
        pytest.param(10, 10.4, 0.05, 0.05, 10, id="within the tolerance above"),
        pytest.param(10, 10.5, 0.05, 0.05, 11, id="the tolerance itself is outside"),
        pytest.param(10, 10.4, 0.0, 0.05, 11, id="no tolerance above"),
        pytest.param(20, 19.1, 0.05, 0.05, 20, id="rounded up anyway"),
        pytest.param(20, 18.1, 0.05, 0.1, 20, id="within the tolerance below"),
        pytest.param(20, 18.0, 0.05, 0.1, 18, id="the tolerance below is outside too"),
        pytest.param(20, 18.1, 0.05, 0.0, 19, id="no tolerance below"),
        pytest.param(20, 20.0, 0.05, 0.05, 20, id="exactly the target"),
    ],
)
def test_tolerance(replicas: int, load: float, up: float, down: float, expected: int) -> None:
    assert at(replicas, load, upscale_tolerance=up, downscale_tolerance=down).replicas == expected


@pytest.mark.parametrize(
    ("replicas", "load", "factor", "expected"),
    [(4, 21, 1.5, 6), (5, 21, 1.5, 8), (1, 21, 1.5, 2), (1, 21, 1.01, 2), (100, 900, 1.1, 110), (2, 100, 10, 20)],
)
def test_a_step_up_multiplies_by_the_factor_at_most_but_one_more_is_always_allowed(
    replicas: int, load: float, factor: float, expected: int
) -> None:
    assert at(replicas, load, max_upscale_factor=factor).replicas == expected


@pytest.mark.parametrize(
    ("replicas", "factor", "expected"), [(20, 0.75, 15), (15, 0.75, 12), (3, 0.75, 2), (2, 0.99, 1), (20, 0, 1)]
)
def test_a_step_down_leaves_the_factor_at_least_but_one_less_is_always_allowed(
    replicas: int, factor: float, expected: int
) -> None:
    assert at(replicas, 0, max_downscale_factor=factor).replicas == expected


@pytest.mark.parametrize(
    ("replicas", "load", "bounds", "expected", "rule"),
    [
        (3, 50, {"max_replicas": 8}, 8, "max_replicas"),
        (3, 0, {"min_replicas": 2}, 2, "min_replicas"),
        (3, 0, {"min_replicas": 3}, 3, "min_replicas"),
        (3, 3, {"min_replicas": 3, "max_replicas": 3}, 3, None),
    ],
)
def test_bounds(replicas: int, load: float, bounds: dict[str, int], expected: int, rule: str | None) -> None:
    scaling = a_scaling(downscale_stabilization_period=0, max_downscale_factor=0, **bounds)
    story = Story(scaling, fixed=Fixed(replicas, until=1100.0))
    story.run(100, load)
    story.fixed = None
    decision = story.tick(a_sample(load))
    assert decision.replicas == expected
    assert rules(decision)[-1:] == ([rule] if rule else [])


@pytest.mark.parametrize(("init", "expected"), [(None, 2), (5, 5)])
def test_the_first_number_is_init_replicas(init: int | None, expected: int) -> None:
    decision, memory = decide(a_scaling(min_replicas=2, init_replicas=init), Memory(), None, 0.0)
    assert (decision.replicas, decision.current, memory.replicas) == (expected, expected, expected)


def test_init_replicas_stay_until_the_downscale_period_has_been_watched() -> None:
    story = Story(a_scaling(init_replicas=4, max_downscale_factor=0))
    assert story.run(300, 0).replicas == 4
    assert story.run(1, 0).replicas == 1


def test_bounds_that_were_edited_hold_at_once_with_and_without_figures() -> None:
    story = Story(a_scaling())
    story.run(5, 10)
    story.scaling = a_scaling(max_replicas=6)
    lower = story.tick(None)
    assert (lower.current, lower.base, lower.replicas) == (10, 6, 6)
    story.scaling = a_scaling(min_replicas=8)
    assert story.tick(a_sample(0)).replicas == 8


def test_no_figures_move_nothing_and_are_not_remembered_as_zero() -> None:
    story = Story(a_scaling(downscale_stabilization_period=0))
    story.run(60, 7)
    assert story.run(20, None).replicas == 7
    assert story.told[-1][1].load is None
    load = story.tick(a_sample(7)).load
    assert load is not None
    assert load.average == 7


# --- panic ---------------------------------------------------------------------------------------------------


def test_a_burst_counts_by_the_average_of_a_tenth_of_the_window() -> None:
    story = Story(a_scaling(max_replicas=100, max_upscale_factor=1000))
    story.run(60, 1)
    first = story.tick(a_sample(31)).load
    assert first is not None
    assert (first.average, first.panic_average) == (2, 11)
    assert first.is_panicking
    assert story.replicas == 11


@pytest.mark.parametrize(("load", "is_panicking"), [(7.9, False), (8, True)])
def test_a_burst_is_twice_what_the_replicas_are_for(load: float, is_panicking: bool) -> None:
    decision = at(4, load).load
    assert decision is not None
    assert decision.is_panicking is is_panicking


def test_nothing_is_taken_away_until_a_window_after_the_burst() -> None:
    story = Story(a_scaling(downscale_stabilization_period=0, max_downscale_factor=0))
    story.run(60, 1)
    story.run(3, 8)
    last_crossing = max(at for at, told in story.told if told.load and told.load.panic_average >= 2 * told.base)
    story.run(120, 1)
    falls = [at for at, told in story.told if told.replicas < told.current]
    assert min(falls) == last_crossing + story.scaling.window + 1


def test_the_panic_window_is_never_shorter_than_a_tick() -> None:
    decision, _ = decide(a_scaling(window=1), Memory(), a_sample(3), 0.0)
    assert decision.panic_window_s == 1


# --- stabilisation -------------------------------------------------------------------------------------------


def test_up_only_to_the_lowest_recommendation_of_the_period() -> None:
    story = Story(a_scaling(window=1, upscale_stabilization_period=60, max_upscale_factor=1000))
    story.run(61, 1)
    story.run(30, 4)
    story.run(29, 9)
    assert story.numbers == [1]
    story.run(2, 9)
    assert story.numbers == [1, 4]
    story.run(30, 9)
    assert story.numbers == [1, 4, 9]


def test_down_only_to_the_highest_recommendation_of_the_period() -> None:
    story = Story(a_scaling(window=1, downscale_stabilization_period=60, max_downscale_factor=0))
    story.run(61, 9)
    story.run(30, 4)
    assert story.run(29, 1).replicas == 9
    story.run(2, 1)
    assert story.replicas == 4
    story.run(30, 1)
    assert story.replicas == 1


def test_a_period_counts_from_the_first_figures() -> None:
    story = Story(a_scaling(upscale_stabilization_period=60, init_replicas=2, downscale_stabilization_period=60))
    assert story.run(60, 9).replicas == 2
    assert story.run(1, 9).replicas == 9


def test_a_drop_within_the_period_starts_the_wait_anew() -> None:
    story = Story(a_scaling(window=1, upscale_stabilization_period=60))
    story.run(61, 1)
    story.run(59, 9)
    story.run(1, 1)
    story.run(59, 9)
    assert story.numbers == [1]
    story.run(1, 9)
    assert story.numbers == [1, 9]


def test_the_wait_that_is_told_is_the_wait_there_is() -> None:
    story = Story(a_scaling(max_downscale_factor=0))
    story.run(400, 9)
    while not (limits := story.tick(a_sample(2)).limits):
        pass
    wait_s = limits[-1].wait_s
    assert wait_s is not None
    told_at = story.now - story.began - 1
    story.run(wait_s + 60, 2)
    first_fall = next(at for at, replicas in story.moves if replicas < 9)
    assert first_fall == told_at + wait_s


# --- zero ----------------------------------------------------------------------------------------------------


def test_to_zero_after_the_window_and_the_downscale_period_without_a_request() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1))
    story.run(600, 0.5)
    last_request = story.now - story.began - 1
    story.run(600, 0)
    assert story.moves == [(last_request + 30 + 300 - 1, 0)]


def test_short_requests_that_no_look_has_seen_in_flight_keep_an_api_awake() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1))
    for _ in range(60):
        story.run(59, 0)
        story.run(1, 0, arrived=1)
    assert story.moves == []


def test_unknown_arrivals_keep_an_api_awake_and_wake_none() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1))
    assert story.run(1000, 0, arrived=None).replicas == 1
    story.run(1000, 0)
    assert story.run(100, 0, arrived=None).replicas == 0


@pytest.mark.parametrize(
    ("waiting", "changes", "expected"),
    [
        pytest.param(1, {}, 1, id="one"),
        pytest.param(6, {"target_in_flight": 2}, 3, id="as many as what waits needs"),
        pytest.param(100, {"max_replicas": 50}, 10, id="at most the factor, as from one"),
        pytest.param(100, {"max_replicas": 4}, 4, id="at most max_replicas"),
        pytest.param(100, {"upscale_stabilization_period": 60}, 1, id="the first waits for no stabilisation"),
    ],
)
def test_from_zero_up_at_once(waiting: int, changes: dict[str, Any], expected: int) -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=0, **changes))
    story.run(100, 0)
    assert story.replicas == 0
    assert story.tick(a_sample(waiting), tick_s=0).replicas == expected


def test_from_zero_within_the_same_tick() -> None:
    story = Story(a_scaling(min_replicas=0))
    story.run(100, 0, tick_s=1.0)
    story.now -= 0.9
    assert story.tick(a_sample(1)).replicas == 1


def test_a_request_that_came_and_went_wakes_an_api() -> None:
    story = Story(a_scaling(min_replicas=0))
    story.run(100, 0)
    assert story.tick(Sample(0, arrived=1)).replicas == 1


def test_zero_is_not_reached_while_requests_may_have_come_unseen() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1, downscale_stabilization_period=0))
    story.run(5, 0)
    assert story.replicas == 1
    story.run(300, None)
    assert story.run(30, 0).replicas == 1
    assert story.run(1, 0).replicas == 0


# --- ticks ---------------------------------------------------------------------------------------------------


def test_a_second_look_within_a_tick_takes_no_second_step() -> None:
    story = Story(a_scaling(max_replicas=1000, max_upscale_factor=2))
    story.tick(a_sample(500), tick_s=0.1)
    for _ in range(4):
        assert story.tick(a_sample(500), tick_s=0.1).replicas == 2
    story.now = story.began + 0.99
    assert story.tick(a_sample(500)).replicas == 4


# --- fixed ---------------------------------------------------------------------------------------------------


def test_a_fixed_number_holds_until_its_time_and_tells_what_would_have_been() -> None:
    story = Story(a_scaling(), fixed=Fixed(3, until=1010.0))
    decision = story.run(10, 8)
    assert (decision.replicas, decision.would, decision.fixed_s) == (3, 8, 1.0)
    after = story.tick(a_sample(8))
    assert (after.current, after.replicas, after.fixed_s) == (3, 8, None)


@pytest.mark.parametrize(("asked", "got"), [(0, 2), (5, 5), (50, 10)])
def test_a_fixed_number_is_within_the_bounds(asked: int, got: int) -> None:
    for sample in (None, a_sample(4)):
        decision, _ = decide(a_scaling(min_replicas=2), Memory(), sample, 0.0, Fixed(asked, until=60.0))
        assert decision.replicas == got


# --- a full machine ------------------------------------------------------------------------------------------
def test_when_others_wait_for_room_nothing_is_kept_in_case() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1))
    story.run(100, 0.5)
    assert not story.run(3, 0).is_kept_in_case, "its average over the window asks for one"
    crowded, _ = decide(story.scaling, story.memory, a_sample(0), story.now, is_crowded=True)
    assert crowded.replicas == 1
    story.run(31, 0)
    calm, _ = decide(story.scaling, story.memory, a_sample(0), story.now)
    crowded, _ = decide(story.scaling, story.memory, a_sample(0), story.now, is_crowded=True)
    assert (calm.replicas, calm.is_kept_in_case) == (1, True)
    assert (crowded.replicas, crowded.is_kept_in_case) == (0, False)


def test_a_last_request_counts_for_the_panic_window_when_others_wait() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1))
    story.run(100, 0)
    story.run(1, 0, arrived=1)
    at_once, _ = decide(story.scaling, story.memory, a_sample(0), story.now, is_crowded=True)
    later, _ = decide(story.scaling, story.memory, a_sample(0), story.now + 3, is_crowded=True)
    assert (at_once.replicas, later.replicas) == (1, 0)


def test_bounds_and_fixed_numbers_hold_on_a_full_machine() -> None:
    story = Story(a_scaling(min_replicas=2))
    story.run(400, 0)
    crowded, _ = decide(story.scaling, story.memory, a_sample(0), story.now, is_crowded=True)
    assert crowded.replicas == 2
    fixed = Fixed(5, story.now + 60)
    crowded, _ = decide(story.scaling, story.memory, a_sample(0), story.now, fixed, is_crowded=True)
    assert crowded.replicas == 5
