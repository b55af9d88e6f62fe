"""How fast an API server is asked, and how long the pauses between failures are."""

from __future__ import annotations

from hatchway.kubernetes.limits import Allowance, Backoff


def test_a_burst_goes_at_once_and_then_each_waits_for_its_turn() -> None:
    allowance = Allowance(per_s=10, burst=3)
    assert [allowance.take(100.0) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]


def test_what_was_not_used_is_saved_up_to_a_burst() -> None:
    allowance = Allowance(per_s=10, burst=3)
    for _ in range(3):
        allowance.take(0.0)
    assert [allowance.take(0.1), allowance.take(0.1)] == [0, 0.1]
    assert [allowance.take(60.0) for _ in range(4)] == [0, 0, 0, 0.1]


def test_pauses_grow_to_a_limit_and_lie_anywhere_below_it() -> None:
    backoff = Backoff(first_s=1, longest_s=5)
    assert [backoff.next_s(1.0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.next_s(0.5) == 2.5


def test_after_a_success_they_begin_anew() -> None:
    backoff = Backoff(first_s=1, longest_s=5, failures=4)
    backoff.reset()
    assert backoff.next_s(1.0) == 1
