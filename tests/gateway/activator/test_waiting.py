from __future__ import annotations

from hatchway.gateway.activator.waiting import Waiting, delay_s, least_busy


def test_each_api_has_a_bound_of_its_own() -> None:
    waiting: Waiting[str] = Waiting()
    assert [waiting.enter("iris", name, 2) for name in "abc"] == [True, True, False]
    assert waiting.enter("other", "d", 1)
    assert waiting.counts() == {"iris": 2, "other": 1}


def test_who_leaves_makes_room_once() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.enter("iris", "a", 1)
    assert [waiting.leave("a"), waiting.leave("a"), waiting.leave("nobody")] == [True, False, False]
    assert waiting.counts() == {}
    assert waiting.enter("iris", "b", 1)


def test_who_was_let_in_is_let_in_again_when_it_is_full() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.enter("iris", "a", 1)
    waiting.leave("a")
    waiting.enter("iris", "b", 1)
    waiting.put_back("iris", "a", 0.0)
    assert waiting.of("iris") == ["b", "a"]


def test_one_that_was_refused_is_not_due_before_its_time() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.put_back("iris", "a", 5.0)
    waiting.enter("iris", "b", 2)
    assert waiting.due("iris", now=4.9) == ["b"]
    assert waiting.due("iris", now=5.0) == ["a", "b"]
    assert waiting.due("other", now=9.0) == []


def test_each_refusal_doubles_the_delay_up_to_a_second() -> None:
    assert [delay_s(n) for n in (1, 2, 3, 5, 6, 10_000)] == [0.05, 0.1, 0.2, 0.8, 1.0, 1.0]


def test_the_replica_with_the_fewest_requests_is_next() -> None:
    assert least_busy(["a", "b", "c"], {"a": 2, "b": 1, "c": 2}) == "b"
    assert least_busy(["a", "b"], {"a": 1}) == "b"
