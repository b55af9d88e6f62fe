"""Hours of an API on a fake clock: what it does as a whole, tick by tick."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from tests.autoscaler.story import Story, a_sample, a_scaling, cortex_scaling


def rests(story: Story, at_least_s: float = 30) -> list[tuple[float, int]]:
    """Where the number stayed for a while, and since when: the steps of a staircase without its edges."""
    begins = [(0.0, story.told[0][1].current), *story.moves]
    ends = [*(at for at, _ in story.moves), story.now - story.began]
    return [begin for begin, end in zip(begins, ends, strict=True) if end - begin[0] >= at_least_s]


def test_cortexs_staircase_with_cortexs_parameters() -> None:
    """21 clients of a handler that sleeps for a second, target 1: Cortex's end-to-end test, and the steps it expects.

    Up, each step takes the upscale period; down, each takes the downscale period. The first step down is not one
    edge: it follows the average, which takes a window to fall.
    """
    story = Story(cortex_scaling(max_replicas=20))
    story.run(600, 21)
    assert story.numbers == [1, 2, 3, 5, 8, 12, 18, 20]
    up = [at for at, _ in story.moves]
    assert up[0] == 60
    assert [later - earlier for earlier, later in pairwise(up)] == [pytest.approx(60, abs=1)] * 6
    story.run(4000, 0)
    down = [rest for rest in rests(story) if rest[0] > up[-2]]
    assert [replicas for _, replicas in down] == [20, 15, 12, 9, 7, 6, 5, 4, 3, 2, 1]
    assert 600 + 300 <= down[1][0] <= 600 + 300 + 60
    assert [later[0] - earlier[0] for earlier, later in pairwise(down[1:])] == [pytest.approx(300, abs=3)] * 9


def test_cortexs_staircase_with_our_defaults_takes_seconds() -> None:
    story = Story(a_scaling(max_replicas=20))
    story.run(60, 0)
    story.run(60, 21)
    assert story.replicas == 20
    assert story.moves[-1][0] <= 62


def test_a_burst_is_met_within_seconds_and_let_go_of_slowly() -> None:
    story = Story(a_scaling(max_replicas=50, target_in_flight=2))
    story.run(600, 2)
    assert story.numbers == [1]
    story.run(10, 60)
    assert (story.moves[0][0], story.replicas) == (600, 30)
    story.run(3000, 2)
    assert max(story.numbers) == 30
    assert story.numbers[-1] < 15
    falls = [at for at, told in story.told if told.replicas < told.current]
    assert falls[0] >= 610 + 300 - 1
    steps = [(told.current, told.replicas) for _, told in story.told if told.replicas < told.current]
    assert all(after >= min(before - 1, math.ceil(before * 0.75)) for before, after in steps)


def test_one_blip_of_a_second_moves_less_than_a_burst() -> None:
    story = Story(a_scaling())
    story.run(60, 1)
    story.run(1, 4)
    story.run(200, 1)
    assert max(story.numbers) == 2  # (1 + 1 + 4) / 3 is the threshold of a burst


def test_a_day_and_night_wave_is_followed_without_flapping() -> None:
    """Two hours that stand for a day: between 1 and 9 in flight."""
    story = Story(a_scaling(max_replicas=20, max_downscale_factor=0))
    story.run(7200, lambda s: 5 - 4 * math.cos(2 * math.pi * s / 7200))
    assert max(story.numbers) == 9
    top = story.numbers.index(9)
    assert story.numbers[: top + 1] == sorted(story.numbers[: top + 1])
    assert story.numbers[top:] == sorted(story.numbers[top:], reverse=True)
    assert story.replicas <= 3
    for _, told in story.told[60:]:
        assert told.load is not None
        assert told.replicas >= told.load.average * 0.95


def test_load_that_flaps_does_not_make_replicas_flap() -> None:
    story = Story(a_scaling())
    story.run(60, 1)
    story.run(3600, lambda s: 8 if s % 120 < 60 else 0)
    assert all(before < after for before, after in pairwise(story.numbers))
    assert story.replicas == 8


def test_figures_that_are_gone_for_a_minute_move_nothing() -> None:
    story = Story(a_scaling())
    story.run(600, 6)
    story.run(60, None)
    story.run(299, 0)
    assert story.numbers == [1, 6]
    story.run(60, 0)
    assert story.numbers == [1, 6, 5]


@pytest.mark.parametrize("tick_s", [0.75, 1.0, 1.3, 2.0, 5.0])
def test_late_ticks_come_to_the_same_end(tick_s: float) -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1, max_downscale_factor=0))
    story.run(600, 6, tick_s)
    assert story.replicas == 6
    story.run(600, 0, tick_s)
    assert story.replicas == 0


@pytest.mark.parametrize(
    ("now", "away_s"),
    [
        pytest.param(5.0, 0.0, id="another clock, no idea how long"),
        pytest.param(5.0, 3.0, id="another clock, three seconds away"),
        pytest.param(1_000_000.0, 3.0, id="a clock far ahead"),
    ],
)
def test_an_engine_that_restarts_goes_on_where_the_last_one_was(now: float, away_s: float) -> None:
    """In the middle of the wait for a downscale: it is neither forgotten nor begun anew."""
    story = Story(a_scaling(max_downscale_factor=0))
    story.run(600, 8)
    story.run(200, 1)
    assert story.replicas == 8
    story.restart(now=now, away_s=away_s)
    story.run(200, 1)
    falls = [(at, replicas) for at, replicas in story.moves if at > 600]
    assert falls[-1][1] == 1
    assert 600 + 300 <= falls[0][0] <= 600 + 300 + 30


def test_an_engine_that_restarts_after_an_hour_knows_that_it_knows_nothing() -> None:
    story = Story(a_scaling(max_downscale_factor=0))
    story.run(600, 8)
    story.run(200, 1)
    story.restart(now=5.0, away_s=3600.0)
    assert story.run(300, 1).replicas == 8
    assert story.run(1, 1).replicas == 1


def test_to_zero_and_back() -> None:
    story = Story(a_scaling(min_replicas=0, init_replicas=1, target_in_flight=2))
    story.run(120, 3)
    story.run(1200, 0)
    assert story.numbers == [1, 2, 1, 0]
    story.run(3600, 0)
    assert story.numbers == [1, 2, 1, 0]
    story.tick(a_sample(9))
    assert story.numbers == [1, 2, 1, 0, 5]
    story.run(400, 0)
    assert story.replicas > 0
    story.run(1500, 0)
    assert story.replicas == 0
