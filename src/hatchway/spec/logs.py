"""Which lines of a log are wanted: the same words in the command, the control API and the backends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from hatchway.spec.status import LogLine
from hatchway.spec.values import Wrong, parse_duration

LEVELS = ("debug", "info", "warning", "error")
# What handlers that write records of their own may call them, too. An unknown level counts as info.
_RANKS = {"debug": 0, "info": 1, "warn": 2, "warning": 2, "error": 3, "critical": 4, "fatal": 4}


@dataclass(frozen=True)
class LogQuery:
    """Lines that fit all that is given. Times are in seconds since the epoch, `until` is exclusive.

    `level`: one of LEVELS; lines of this level and above. `text`: what a line holds somewhere; plain text and no
    pattern, since a pattern of a few letters can keep the engine busy for ever. As with journalctl and ripgrep, text
    without capitals fits any case.
    """

    replica: str | None = None
    revision: str | None = None
    request_id: str | None = None
    since: float | None = None
    until: float | None = None
    level: str | None = None
    text: str | None = None

    def is_of(self, revision: str, replica: str) -> bool:
        """Whether the log of this replica may hold wanted lines."""
        return self.revision in (None, revision) and self.replica in (None, replica)

    def fits(self, line: LogLine) -> bool:
        """Whether a line of such a log is wanted."""
        if self.request_id not in (None, line.request_id):
            return False
        if self.level is not None and rank(line.level) < rank(self.level):
            return False
        if self.text is not None and not _holds(line.message, self.text):
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


def rank(level: str) -> int:
    return _RANKS.get(level.lower(), 1)


def _holds(message: str, text: str) -> bool:
    return text in (message.lower() if text == text.lower() else message)


def moment_text(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, as in logs; texts of this form sort by time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parse_moment(written: str, now: float) -> float:
    """Seconds since the epoch of an age ("10m") or a moment ("2026-01-31T12:00:00Z"; UTC if it does not say).

    Raises Wrong.
    """
    try:
        return now - parse_duration(written)
    except Wrong:
        pass
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise Wrong from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
