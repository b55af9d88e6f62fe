"""Which lines of a log are wanted: the same words in the command, the control API and the backends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from hatchway.spec.status import LogLine
from hatchway.spec.values import Wrong, parse_duration

LEVELS = ("debug", "info", "warning", "error")
LONGEST_TOLD_CHARS = 16 * 1024  # of a message, in an answer of limited size
SMALLEST_LIMIT_BYTES = 128 * 1024  # of an answer: the longest message that is told fits, however JSON spells it
# What handlers that write records of their own may call them, too. An unknown level counts as info.
_RANKS = {"debug": 0, "info": 1, "warn": 2, "warning": 2, "error": 3, "critical": 4, "fatal": 4}


@dataclass(frozen=True)
class LogQuery:
    """Lines that fit all that is given. Times are in seconds since the epoch, `until` is exclusive.

    `level`: one of LEVELS; lines of this level and above. `text`: what the message or the request's id holds; plain
    text and no pattern, since a pattern of a few letters can keep the engine busy for ever. As with journalctl and
    ripgrep, text without capitals fits any case. `max_bytes`: so much is told, as JSON: of what there is the newest
    lines, and what is followed ends when it is told.
    """

    replica: str | None = None
    revision: str | None = None
    request_id: str | None = None
    since: float | None = None
    until: float | None = None
    level: str | None = None
    text: str | None = None
    max_bytes: int | None = None

    def is_of(self, revision: str, replica: str) -> bool:
        """Whether the log of this replica may hold wanted lines."""
        return self.revision in (None, revision) and self.replica in (None, replica)

    def fits(self, line: LogLine) -> bool:
        """Whether a line of such a log is wanted."""
        if self.request_id not in (None, line.request_id):
            return False
        if self.level is not None and rank(line.level) < rank(self.level):
            return False
        if self.text is not None and not (_holds(line.message, self.text) or _holds(line.request_id or "", self.text)):
            return False
        return self._begin <= line.time < self._end

    @cached_property
    def _begin(self) -> str:
        return "" if self.since is None else moment_text(self.since)

    @cached_property
    def _end(self) -> str:
        return "~" if self.until is None else moment_text(self.until)

    def needles(self) -> tuple[bytes, ...]:
        """Of a line that fits, its bytes hold at least one of these in lower case; () when nothing is known.

        Only what is spelt in one way in JSON counts: a quote or an umlaut may be escaped.
        """
        for text in (self.request_id, self.text):
            if text and text.isascii() and text.isprintable() and not set(text) & {'"', "\\", "/"}:
                return (text.lower().encode(),)
        wanted = rank(self.level) if self.level is not None else 0
        return tuple(word.encode() for word, at in _RANKS.items() if at >= wanted) if wanted > 1 else ()


def told(line: LogLine) -> LogLine:
    """As an answer of limited size tells it: with a message that is not too long."""
    more = len(line.message) - LONGEST_TOLD_CHARS
    if more <= 0:
        return line
    shown = f"{line.message[:LONGEST_TOLD_CHARS]} … and {more:,} characters more"
    return line.model_copy(update={"message": shown})


def size_bytes(line: LogLine) -> int:
    """Of the line as JSON, with its line end."""
    return len(line.model_dump_json().encode()) + 1


def newest_of(lines: Sequence[LogLine], max_bytes: int) -> tuple[list[LogLine], bool]:
    """(those at the end that fit, as they are told; whether there were more)"""
    found: list[LogLine] = []
    for line in map(told, reversed(lines)):
        max_bytes -= size_bytes(line)
        if max_bytes < 0:
            return found[::-1], True
        found.append(line)
    return found[::-1], False


def rank(level: str) -> int:
    return _RANKS.get(level.lower(), 1)


def _holds(message: str, text: str) -> bool:
    return text in (message.lower() if text == text.lower() else message)


def moment_text(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, as in logs; texts of this form sort by time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def parse_moment(written: str, now: float) -> float:
    """Seconds since the epoch of an age ("10m") or a moment ("2026-01-31T12:00:00Z"; UTC if it does not say).

    What is before 1970 or after 9998 is told as those: a little before or after it must still be a time. Raises Wrong.
    """
    try:
        return now - parse_duration(written)
    except Wrong:
        pass
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise Wrong from None
    return min(max((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), 0.0), _LATEST)
