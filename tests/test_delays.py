"""A delay that grows, and when it begins anew."""

from __future__ import annotations

from hatchway.delays import GrowingDelay


def test_it_doubles_up_to_the_longest() -> None:
    delay = GrowingDelay(1.0, 6.0)
    assert [delay.after(10_000) for _ in range(5)] == [1, 2, 4, 6, 6]


def test_it_begins_anew_after_a_calm_while_and_not_before() -> None:
    delay = GrowingDelay(1.0, 60.0, calm_after_s=30.0)
    assert [delay.after(lasted_s) for lasted_s in (0, 29, 30, 0)] == [1, 2, 1, 2]


def test_it_begins_anew_when_told() -> None:
    delay = GrowingDelay(1.0, 60.0)
    delay.after()
    delay.reset()
    assert delay.after() == 1
