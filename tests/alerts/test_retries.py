from __future__ import annotations

import pytest

from hatchway.alerts.retries import GIVE_UP_AFTER_S, LONGEST_DELAY_S, Again, Answer, GiveUp, follow_up

DOWN = Answer(0, "cannot be reached")


def test_delays_grow_to_a_limit_and_it_ends() -> None:
    spent, attempts, delays = 0.0, 0, []
    while isinstance(step := follow_up(DOWN, attempts := attempts + 1, spent), Again):
        delays.append(step.after_s)
        spent += step.after_s
    assert delays[:5] == [1, 2, 4, 8, 16]
    assert max(delays) == LONGEST_DELAY_S
    assert GIVE_UP_AFTER_S - LONGEST_DELAY_S <= spent <= GIVE_UP_AFTER_S


@pytest.mark.parametrize("code", [301, 307, 400, 401, 403, 404, 410, 422])
def test_what_would_be_refused_again_is_given_up(code: int) -> None:
    assert follow_up(Answer(code), 1, 0.0) == GiveUp()


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(code: int) -> None:
    assert follow_up(Answer(code), 1, 0.0) == Again(1.0)


def test_a_receiver_says_when_to_come_back_within_reason() -> None:
    assert follow_up(Answer(429, retry_after_s=30), 1, 0.0) == Again(30)
    assert follow_up(Answer(429, retry_after_s=0), 3, 0.0) == Again(4)
    assert follow_up(Answer(429, retry_after_s=999_999), 1, 0.0) == Again(LONGEST_DELAY_S)
