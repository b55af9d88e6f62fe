"""When a replica that ended is started again: pure. (how it ended before, now) -> at a time, or never.

Delays grow from 0.5 s, doubling to 30 s, and start over once a replica has been ready for a minute. What could not be
loaded would not load the next time either, so it is final, unless the same replica was ready once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hatchway.contract import (
    EXIT_CONTRACT,
    EXIT_LOAD_FAILED,
    EXIT_OK,
    EXIT_OLD_PYTHON,
    EXIT_STUCK,
    EXIT_WARMUP_FAILED,
    LastWords,
)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
MAX_MESSAGE_CHARS = 3000  # of what a replica says of its end
CALM_AFTER_S = 60.0  # ready for so long: what happened before does not count any more
MAX_UNREADY_CRASHES = 5
MIN_LOOP = 2  # ends in a row without having been ready: it will be told as a loop, whether or not it is over

_FINAL_CODES = frozenset({EXIT_LOAD_FAILED, EXIT_WARMUP_FAILED, EXIT_OLD_PYTHON, EXIT_CONTRACT})
_REASONS = {
    EXIT_LOAD_FAILED: ("LoadFailed", "the handler could not be loaded"),
    EXIT_WARMUP_FAILED: ("WarmupFailed", "the warm-up prediction failed"),
    EXIT_OLD_PYTHON: ("OldPython", "the handler's Python is older than 3.11"),
    EXIT_CONTRACT: ("ContractMismatch", "the replica's program and the engine are of different versions"),
    EXIT_STUCK: ("Stuck", "a handler ran past its timeout and could not be interrupted"),
}


@dataclass(frozen=True)
class Exit:
    """One end of a replica's process. `code` is negative for a signal and None when nobody knows it."""

    at: float  # on the monotonic clock of the machine
    code: int | None
    ready_s: float | None  # how long it had been ready; None: never


@dataclass(frozen=True)
class Restart:
    at: float  # on the monotonic clock of the machine


@dataclass(frozen=True)
class Never:
    """It stays down."""


def decide(exits: Sequence[Exit]) -> Restart | Never:
    """What follows after the last of `exits` (oldest first, at least one)."""
    last = exits[-1]
    if last.code in _FINAL_CODES and all(end.ready_s is None for end in exits):
        return Never()
    if _unready(exits) > MAX_UNREADY_CRASHES:
        return Never()
    return Restart(last.at + min(FIRST_DELAY_S * 2 ** _doublings(exits), LONGEST_DELAY_S))


def forget_old(exits: Sequence[Exit]) -> list[Exit]:
    """What is worth remembering: enough to count crashes and delays, and whether it was ever ready."""
    ready = [end for end in exits[:-16] if end.ready_s is not None]
    return [*ready[-1:], *exits[-16:]]


def describe_loop(exits: Sequence[Exit]) -> str:
    """How often it ended in a row, when that says more than how it did the last time; else ""."""
    times = _unready(exits)
    if times < MIN_LOOP or exits[-1].code in _FINAL_CODES:
        return ""
    return f"it ended {times} times in a row without becoming ready"


def describe(code: int | None, words: LastWords | None) -> tuple[str, str]:
    """(reason, message) of an exit in words; the replica's own last words come first."""
    if words is not None:
        return words.reason, _in_short(words.message)
    if code is None:
        return "Unknown", "the replica's process ended and nobody saw how"
    if code < 0:
        return "Killed", f"the replica's process was ended by {_signal_name(-code)}"
    if code in _REASONS:
        return _REASONS[code]
    if code == EXIT_OK:
        return "Exited", "the replica's process ended by itself (exit code 0)"
    return "Exited", f"the replica's process ended with exit code {code}"


def _in_short(message: str) -> str:
    """Its beginning and its end: an exception may hold megabytes, and each status and event would repeat them."""
    if len(message) <= MAX_MESSAGE_CHARS:
        return message
    half = MAX_MESSAGE_CHARS // 2
    return f"{message[:half]} … {message[-half:]}"


def _unready(exits: Sequence[Exit]) -> int:
    return _trailing(exits, lambda end: end.ready_s is None)


def _trailing(exits: Sequence[Exit], holds: Callable[[Exit], bool]) -> int:
    count = 0
    for end in reversed(exits):
        if not holds(end):
            break
        count += 1
    return count


def _doublings(exits: Sequence[Exit]) -> int:
    """How many ends there were since the last calm minute, the first one not counted."""
    restless = _trailing(exits, lambda end: not _was_calm(end))
    return restless if restless < len(exits) else restless - 1


def _was_calm(end: Exit) -> bool:
    return end.ready_s is not None and end.ready_s >= CALM_AFTER_S


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
