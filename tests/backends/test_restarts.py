from __future__ import annotations

import pytest

from hatchway.backends.local.restarts import (
    LONGEST_DELAY_S,
    MAX_MESSAGE_CHARS,
    MAX_UNREADY_CRASHES,
    Exit,
    Never,
    Restart,
    decide,
    describe,
    describe_loop,
    forget_old,
)
from hatchway.contract import (
    EXIT_CONTRACT,
    EXIT_LOAD_FAILED,
    EXIT_OLD_PYTHON,
    EXIT_STUCK,
    EXIT_WARMUP_FAILED,
    LastWords,
)

CRASHED = Exit(100.0, -9, ready_s=1.0)
UNREADY = Exit(100.0, 1, ready_s=None)
CALM = Exit(100.0, -9, ready_s=60.0)


@pytest.mark.parametrize(
    ("exits", "delay_s"),
    [
        ([CRASHED], 0.5),
        ([CRASHED] * 2, 1.0),
        ([CRASHED] * 3, 2.0),
        ([CRASHED] * 6, 16.0),
        ([CRASHED] * 7, LONGEST_DELAY_S),
        ([CRASHED] * 100, LONGEST_DELAY_S),
        ([*[CRASHED] * 9, CALM], 0.5),
        ([CALM, CALM], 0.5),
        ([CALM, CRASHED], 1.0),
        ([UNREADY], 0.5),
        ([UNREADY] * MAX_UNREADY_CRASHES, 8.0),
        ([Exit(100.0, None, ready_s=None)], 0.5),
        ([Exit(100.0, 0, ready_s=5.0)], 0.5),
        ([Exit(100.0, EXIT_STUCK, ready_s=5.0)], 0.5),
    ],
)
def test_delays_double_and_start_over_after_a_calm_minute(exits: list[Exit], delay_s: float) -> None:
    assert decide(exits) == Restart(100.0 + delay_s)


@pytest.mark.parametrize("code", [EXIT_LOAD_FAILED, EXIT_WARMUP_FAILED, EXIT_OLD_PYTHON, EXIT_CONTRACT])
def test_what_cannot_load_is_final_unless_it_was_ready_once(code: int) -> None:
    assert decide([Exit(100.0, code, ready_s=None)]) == Never()
    assert decide([UNREADY, Exit(100.0, code, ready_s=None)]) == Never()
    assert isinstance(decide([CRASHED, Exit(100.0, code, ready_s=None)]), Restart)


def test_more_than_five_ends_in_a_row_without_getting_ready_are_a_crash_loop() -> None:
    assert decide([UNREADY] * (MAX_UNREADY_CRASHES + 1)) == Never()
    assert isinstance(decide([CRASHED, *[UNREADY] * MAX_UNREADY_CRASHES]), Restart)


def test_from_the_second_end_in_a_row_it_is_told_as_a_loop_unless_the_cause_says_more() -> None:
    assert describe_loop([UNREADY, UNREADY]) == "it ended 2 times in a row without becoming ready"
    assert describe_loop([UNREADY]) == ""
    assert describe_loop([UNREADY, UNREADY, CRASHED]) == ""
    assert describe_loop([CRASHED, UNREADY, Exit(100.0, EXIT_LOAD_FAILED, ready_s=None)]) == ""


def test_what_is_forgotten_changes_no_decision() -> None:
    for history in ([CRASHED] * 40, [CRASHED, *[UNREADY] * 6], [UNREADY] * 5, [CALM, *[CRASHED] * 30]):
        assert decide(forget_old(history)) == decide(history)
    late = [CRASHED, *[CALM] * 20, Exit(100.0, EXIT_LOAD_FAILED, ready_s=None)]
    assert decide(forget_old(late)) == decide(late)
    assert len(forget_old([CRASHED] * 1000)) < 20


@pytest.mark.parametrize(
    ("code", "reason", "part"),
    [
        (-9, "Killed", "SIGKILL"),
        (-11, "Killed", "SIGSEGV"),
        (-99, "Killed", "signal 99"),
        (3, "Exited", "exit code 3"),
        (0, "Exited", "by itself"),
        (None, "Unknown", "nobody saw"),
        (EXIT_STUCK, "Stuck", "timeout"),
        (EXIT_LOAD_FAILED, "LoadFailed", "loaded"),
    ],
)
def test_an_exit_in_words(code: int | None, reason: str, part: str) -> None:
    found, message = describe(code, None)
    assert found == reason
    assert part in message


def test_last_words_say_more_than_the_code() -> None:
    words = LastWords("ImportError", "handler.py, line 1: no module named x")
    assert describe(EXIT_LOAD_FAILED, words) == (words.reason, words.message)


def test_last_words_are_few() -> None:
    _, message = describe(EXIT_LOAD_FAILED, LastWords("ImportError", f"begin {'x' * 1_000_000} end"))
    assert (message[:7], message[-4:]) == ("begin x", " end")
    assert len(message) < 2 * MAX_MESSAGE_CHARS
