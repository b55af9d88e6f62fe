"""The last hour in steps: what is written, what is filled in, what is forgotten."""

from __future__ import annotations

from hatchway.metrics.timelines import POINTS, STEP_S, STEPS, STEPS_A_POINT, Standing, Timelines, Traffic

BUSY = Traffic(5.0, 1.0, 10.0, 20.0, 30.0)
ONE = Standing(in_flight=2, queued=1, replicas_ready=1, replicas_wanted=1)
NONE = Standing()


def test_steps_in_which_nothing_was_written_are_as_quiet_as_the_last_one_left_off() -> None:
    lines = Timelines(0)
    lines.note(3, "iris", BUSY, ONE)
    lines.note(5, "iris", BUSY, NONE)
    found = lines.timeline("iris", 6, 6, start=1012.0)
    assert found.requests_per_s == (0, 0, 5, 0, 5, 0)
    assert found.p95_ms == (None, None, 20, None, 20, None)
    assert found.replicas_ready == (0, 0, 1, 1, 0, 0)
    assert found.start == 1012.0 - 5 * STEP_S


def test_nothing_is_told_of_the_time_before_the_engine() -> None:
    lines = Timelines(10)
    lines.note(11, "iris", BUSY, ONE)
    found = lines.timeline("iris", 12, 100, start=24.0)
    assert found.requests_per_s == (0, 5, 0)
    assert found.start == 20.0


def test_an_api_that_was_always_at_rest_is_a_row_of_zeros() -> None:
    found = Timelines(0).timeline("iris", 9, 3, start=0.0)
    assert found.requests_per_s == (0, 0, 0)
    assert found.p50_ms == (None, None, None)


def test_the_ring_holds_an_hour_and_goes_round() -> None:
    lines = Timelines(0)
    for step in range(0, 2 * STEPS, 3):
        lines.note(step, "iris", Traffic(requests_per_s=step), ONE)
    last = 2 * STEPS - 1
    found = lines.timeline("iris", last, 10 * STEPS, start=0.0)
    assert len(found.requests_per_s) == STEPS
    assert list(found.requests_per_s) == [step if step % 3 == 0 else 0 for step in range(STEPS, 2 * STEPS)]


def test_a_ring_is_kept_while_there_is_a_replica_and_for_an_hour_after() -> None:
    lines = Timelines(0)
    lines.note(1, "iris", BUSY, ONE)
    lines.forget_old(10 * STEPS)
    assert list(lines.known()) == ["iris"]
    lines.note(10 * STEPS, "iris", Traffic(), NONE)
    lines.forget_old(11 * STEPS - 1)
    assert list(lines.known()) == ["iris"]
    lines.forget_old(11 * STEPS)
    assert list(lines.known()) == []


def test_rest_begins_no_ring() -> None:
    lines = Timelines(0)
    lines.note(1, "iris", Traffic(), NONE)
    assert list(lines.known()) == []


def test_a_sparkline_is_of_means_and_its_last_point_of_what_there_was_so_far() -> None:
    lines = Timelines(0)
    for step in range(100 * STEPS_A_POINT + 2):
        lines.note(step, "iris", Traffic(requests_per_s=step // STEPS_A_POINT), ONE)
    found = lines.sparklines(100 * STEPS_A_POINT + 1, start=0.0)["iris"]
    assert len(found.requests_per_s) == POINTS
    assert found.requests_per_s[-3:] == (98, 99, 100)
    assert found.start == -(1 + (POINTS - 1) * STEPS_A_POINT) * STEP_S


def test_a_sparkline_forgets_what_is_older_than_its_points_and_counts_what_was_not_written_as_nothing() -> None:
    lines = Timelines(0)
    lines.note(0, "iris", Traffic(requests_per_s=8.0), ONE)
    lines.note((POINTS + 5) * STEPS_A_POINT, "iris", Traffic(requests_per_s=16.0, errors_per_s=8.0), ONE)
    step = (POINTS + 7) * STEPS_A_POINT - 1
    found = lines.sparklines(step, start=0.0)["iris"]
    assert found.requests_per_s == (*(0.0 for _ in range(POINTS - 2)), 2.0, 0.0)
    assert found.errors_per_s[-2] == 1.0


def test_requests_of_a_window_are_counted_and_how_much_of_it_is_known() -> None:
    lines = Timelines(10)
    assert lines.answered("iris", 9, 5) == (0, 0, 0.0)
    assert lines.answered("iris", 14, 100) == (0, 0, 5 * STEP_S)
    lines.note(12, "iris", Traffic(requests_per_s=2.48, errors_per_s=0.5), ONE)
    lines.note(14, "iris", Traffic(requests_per_s=1.0), ONE)
    assert lines.answered("iris", 14, 100) == (7, 1, 5 * STEP_S)
    assert lines.answered("iris", 14, 2) == (2, 0, 2 * STEP_S)
    assert lines.answered("iris", 100, 2) == (0, 0, 2 * STEP_S)
