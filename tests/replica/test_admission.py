from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.replica.admission import Admission, Verdict


def an_admission(max_concurrency: int = 1, max_queue_length: int = 2) -> Admission[str]:
    return Admission(max_concurrency, max_queue_length)


def test_slots_first_then_the_queue_then_no_more() -> None:
    admission = an_admission()
    assert [admission.enter(job) for job in "abcd"] == [Verdict.RUN, Verdict.QUEUED, Verdict.QUEUED, Verdict.FULL]
    assert (admission.in_flight, admission.queued) == (1, 2)


def test_a_slot_goes_to_whoever_waited_longest() -> None:
    admission = an_admission()
    for job in "abc":
        admission.enter(job)
    assert [admission.release(0.0), admission.release(0.0), admission.release(0.0)] == ["b", "c", None]
    assert (admission.in_flight, admission.queued) == (0, 0)


def test_who_withdraws_never_runs() -> None:
    admission = an_admission()
    for job in "abc":
        admission.enter(job)
    assert admission.withdraw("b")
    assert not admission.withdraw("b")
    assert not admission.withdraw("a")
    assert admission.release(0.0) == "c"


def test_no_queue_means_refusal_at_once() -> None:
    admission = an_admission(max_queue_length=0)
    assert [admission.enter(job) for job in "ab"] == [Verdict.RUN, Verdict.FULL]


@pytest.mark.parametrize(
    ("releases", "queued", "now", "expected"),
    [
        ([], 0, 5.0, 1),  # nothing measured yet
        ([0.0, 0.1, 0.2, 0.3], 0, 0.4, 1),  # ten a second: at least 1
        ([0.0, 1.0, 2.0, 3.0], 3, 4.0, 4),  # one a second, three before it
        ([0.0, 1.0], 100, 100.0, 60),  # at most a minute
    ],
)
def test_retry_after_follows_the_measured_rate(releases: list[float], queued: int, now: float, expected: int) -> None:
    admission: Admission[object] = Admission(1, 100)
    for at in releases:
        admission.enter(at)
        admission.release(at)
    for n in range(queued + 1 if queued else 0):
        admission.enter(n)
    assert admission.retry_after_s(now) == expected


@given(st.integers(1, 3), st.integers(0, 3), st.lists(st.sampled_from(["enter", "release", "withdraw"]), max_size=60))
def test_bounds_hold_and_nobody_runs_twice(max_concurrency: int, max_queue_length: int, steps: list[str]) -> None:
    admission: Admission[int] = Admission(max_concurrency, max_queue_length)
    running: list[int] = []
    started: list[int] = []
    waiting: list[int] = []
    for number, step in enumerate(steps):
        if step == "enter":
            verdict = admission.enter(number)
            if verdict is Verdict.RUN:
                running.append(number)
                started.append(number)
            elif verdict is Verdict.QUEUED:
                waiting.append(number)
        elif step == "release" and running:
            running.pop()
            successor = admission.release(float(number))
            assert successor == (waiting.pop(0) if waiting else None)
            if successor is not None:
                running.append(successor)
                started.append(successor)
        elif step == "withdraw" and waiting:
            assert admission.withdraw(waiting.pop())
        assert admission.in_flight == len(running) <= max_concurrency
        assert admission.queued == len(waiting) <= max_queue_length
        assert len(started) == len(set(started))
