from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.replica.admission import Admission


def an_admission(max_concurrency: int = 1, max_queue_length: int = 2) -> Admission[str]:
    return Admission(max_concurrency, max_queue_length)


def test_slots_and_the_queue_have_room_and_no_more() -> None:
    admission = an_admission()
    assert [admission.enter(job, 0.0) for job in "abcd"] == [True, True, True, False]
    assert (admission.in_flight, admission.queued) == (0, 3)
    admission.take()
    assert (admission.in_flight, admission.queued) == (1, 2)
    assert not admission.enter("e", 0.0)


def test_whoever_waited_longest_is_taken() -> None:
    admission = an_admission()
    for job in "abc":
        admission.enter(job, 0.0)
    assert [admission.take() for _ in range(4)] == ["a", "b", "c", None]
    for _ in range(3):
        admission.release(0.0)
    assert (admission.in_flight, admission.queued) == (0, 0)


def test_who_withdraws_never_runs() -> None:
    admission = an_admission()
    for job in "abc":
        admission.enter(job, 0.0)
    admission.take()
    assert admission.withdraw("b")
    assert not admission.withdraw("b")
    assert not admission.withdraw("a")
    assert admission.take() == "c"


def test_who_withdraws_makes_room() -> None:
    admission = an_admission(max_queue_length=0)
    assert [admission.enter(job, 0.0) for job in "ab"] == [True, False]
    admission.withdraw("a")
    assert admission.enter("b", 0.0)


def test_when_the_oldest_came() -> None:
    admission = an_admission()
    assert admission.oldest_came_at() == math.inf
    admission.enter("a", 1.0)
    admission.enter("b", 2.0)
    assert admission.oldest_came_at() == 1.0
    admission.take()
    assert admission.oldest_came_at() == 2.0


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
        admission.enter(at, at)
        admission.take()
        admission.release(at)
    for n in range(queued):
        admission.enter(n, now)
    assert admission.retry_after_s(now) == expected


@given(st.integers(1, 3), st.integers(0, 3), st.lists(st.sampled_from(["enter", "take", "release", "withdraw"])))
def test_bounds_hold_and_nobody_runs_twice(max_concurrency: int, max_queue_length: int, steps: list[str]) -> None:
    admission: Admission[int] = Admission(max_concurrency, max_queue_length)
    running: list[int] = []
    started: list[int] = []
    waiting: list[int] = []
    for number, step in enumerate(steps):
        if step == "enter":
            has_room = len(running) + len(waiting) < max_concurrency + max_queue_length
            assert admission.enter(number, float(number)) is has_room
            waiting += [number] * has_room
        elif step == "take":
            assert admission.take() == (waiting[0] if waiting else None)
            started += waiting[:1]
            running += waiting[:1]
            del waiting[:1]
        elif step == "release" and running:
            running.pop()
            admission.release(float(number))
        elif step == "withdraw" and waiting:
            assert admission.withdraw(waiting.pop())
        assert (admission.in_flight, admission.queued) == (len(running), len(waiting))
        assert admission.waiting() == waiting
    assert len(started) == len(set(started))


def test_what_threads_take_and_the_loop_withdraws_is_each_job_once() -> None:
    count = 20_000
    admission: Admission[int] = Admission(count, 0)
    taken: list[int] = []
    all_are_in = threading.Event()

    def take_all() -> None:
        while not (all_are_in.is_set() and not admission.queued):
            job = admission.take()
            if job is not None:
                taken.append(job)

    threads = [threading.Thread(target=take_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    withdrawn = []
    for number in range(count):
        admission.enter(number, 0.0)
        if number % 3 == 0 and admission.withdraw(number - 1 if number else 0):
            withdrawn.append(number - 1 if number else 0)
        admission.oldest_came_at()
    all_are_in.set()
    for thread in threads:
        thread.join()
    assert sorted(taken + withdrawn) == list(range(count))
