"""What follows an attempt to post an alert: done, again after a while, or given up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0
GIVE_UP_AFTER_S = 3600.0  # of trying one alert
_PASSING_CODES = frozenset({408, 425, 429})  # refusals that may not last, beside 5xx


@dataclass(frozen=True)
class Answer:
    """What the receiver said. `code` 0: nothing, for the reason `problem`. `retry_after_s`: when to come again."""

    code: int
    problem: str = ""
    retry_after_s: float | None = None

    @property
    def is_taken(self) -> bool:
        return 200 <= self.code < 300


@dataclass(frozen=True)
class Again:
    after_s: float


@dataclass(frozen=True)
class GiveUp:
    """Never again; the alert is lost."""


def follow_up(answer: Answer, attempts: int, spent_s: float) -> Again | GiveUp:
    """After an answer that is not `is_taken`, the `attempts`-th, `spent_s` seconds after the first began.

    A redirection is an answer like another: following it would send the alert, and what its address knows, elsewhere.
    """
    if answer.code and answer.code < 500 and answer.code not in _PASSING_CODES:
        return GiveUp()
    delay_s = min(FIRST_DELAY_S * 2.0 ** min(attempts - 1, 20), LONGEST_DELAY_S)
    if answer.retry_after_s is not None:
        delay_s = min(max(delay_s, answer.retry_after_s), LONGEST_DELAY_S)
    return Again(delay_s) if spent_s + delay_s <= GIVE_UP_AFTER_S else GiveUp()


def describe(answer: Answer) -> str:
    """ "answered 500: no_text", "cannot be reached"."""
    if not answer.code:
        return answer.problem
    return f"answered {answer.code}" + (f": {answer.problem}" if answer.problem else "")
