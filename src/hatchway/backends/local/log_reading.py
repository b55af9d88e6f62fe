"""Reads one replica's log onwards: finds where a time begins, takes lines apart, leaves out what is not wanted.

A hundred megabytes are looked through in a moment: where to begin is searched by halves, since lines are in the order
of time but for what threads do to each other; and what cannot be wanted is passed over as bytes, before it is parsed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from hatchway.contract import LOG_LEVEL, LOG_MESSAGE, LOG_REQUEST_ID, LOG_STREAM, LOG_TIME, LOG_TRACE_ID
from hatchway.rotation import LogStream, Piece
from hatchway.spec.logs import LogQuery, moment_text
from hatchway.spec.status import LogLine

CHUNK_BYTES = 64 * 1024
_LONGEST_LINE_BYTES = 1024 * 1024
_BACKWARD_BYTES = 256 * 1024
# Programs may write lines of our form themselves, with anything in them.
_LONGEST_WORD = 40
_LONGEST_ID = 200
# How far lines may stand from their place in the order of time: a thread can be held up between the look at the clock
# and the write.
_DISORDER_S = 5.0
_TICK_S = 0.1  # the clock of files may be so far behind that of lines: the kernel sets it by ticks


_RECORD_BEGINS = f'{{"{LOG_TIME}":'.encode()


class Step(NamedTuple):
    """A wanted line, or none: so far everything was read, and others may have their turn."""

    time: str
    line: LogLine | None


class Cursor:
    """Where the reading of one log is: from the first wanted line on, or from the first line after `start`."""

    def __init__(
        self, stream: LogStream, revision: str, replica_id: str, query: LogQuery, start: int | None = None
    ) -> None:
        self._stream = stream
        self._revision = revision
        self._replica_id = replica_id
        self._query = query
        self._needles = query.needles()
        self._pending = b""  # the beginning of a line
        self._last_time = ""
        pieces = stream.pieces()
        first = self._first_position(pieces)
        self.is_part = start is not None and start > first
        begin = start if start is not None and self.is_part else first
        # From the line end before it: what begins the oldest file may be the end of a line that was rotated away.
        self.position = max(pieces[0].start if pieces else 0, begin - 1)
        self._is_amid = self.position > 0
        if self.is_part:
            self._last_time = self._time_before(self.position)

    def tell_all_from_now_on(self) -> None:
        """What comes now is new, also where it says no time, or an old one."""
        self._query = dataclasses.replace(self._query, since=None)

    def end(self) -> int:
        """The position after the last line that may be wanted."""
        if self._query.until is None:
            return self._stream.end()
        return search(self._stream, moment_text(self._query.until + _DISORDER_S)).above

    def steps(self, until: int) -> Iterator[Step]:
        """What is wanted of the whole lines up to the position `until`; an unfinished one waits for the next call."""
        while self.position < until:
            expected = self.position
            data, self.position = self._stream.read(expected, min(CHUNK_BYTES, until - expected))
            if not data:
                return
            missed = self.position - len(data) - expected
            if missed > 0:
                yield from self._miss(missed)
            data = self._without_end_of_a_line(data)
            *whole, self._pending = (self._pending + data).split(b"\n")
            if len(self._pending) > _LONGEST_LINE_BYTES:  # output without line ends must not fill our memory
                whole, self._pending = [*whole, self._pending], b""
            for line in self._wanted(whole):
                yield Step(line.time, line)
            yield Step(self._last_time, None)

    def _miss(self, count: int) -> Iterator[Step]:
        """What was written faster than it was read is rotated away: said, instead of two halves as one line."""
        self._pending, self._is_amid = b"", True
        text = f"{count:,} bytes of this log were rotated away before they could be read"
        line = self._line({LOG_LEVEL: "WARNING", LOG_STREAM: "replica", LOG_MESSAGE: text})
        if self._query.fits(line):
            yield Step(line.time, line)

    def _without_end_of_a_line(self, data: bytes) -> bytes:
        if not self._is_amid:
            return data
        end = data.find(b"\n") + 1
        self._is_amid = not end
        return data[end:] if end else b""

    def _wanted(self, texts: list[bytes]) -> Iterator[LogLine]:
        if not self._may_be_wanted(b"\n".join(texts)):  # most often, where little is wanted of much
            self._look_at_the_clock(texts)
            return
        passed_over: list[bytes] = []
        for text in texts:
            if not text or text.isspace():
                continue
            if self._needles and not self._may_be_wanted(text):
                passed_over.append(text)
                continue
            record = read_record(text)
            if record is None:
                self._look_at_the_clock(passed_over)
                raw, record = _split(text)
                if raw:
                    yield from self._fitting({LOG_MESSAGE: raw.decode(errors="replace").rstrip("\r")})
            passed_over.clear()
            if record is not None:
                yield from self._fitting(record)
        self._look_at_the_clock(passed_over)

    def _fitting(self, record: dict[str, Any]) -> Iterator[LogLine]:
        line = self._line(record)
        if self._query.fits(line):
            yield line

    def _may_be_wanted(self, text: bytes) -> bool:
        if not self._needles:
            return True
        lower = text.lower()
        return any(needle in lower for needle in self._needles)

    def _look_at_the_clock(self, texts: Sequence[bytes]) -> None:
        """A line that is no record was written at the time of the one before it, which may not have been parsed."""
        for text in reversed(texts):
            record = read_record(text)
            if record is not None:
                self._last_time = str(record[LOG_TIME])
                return

    def _line(self, record: dict[str, Any]) -> LogLine:
        time = record.get(LOG_TIME) or self._last_time or self._first_time()
        self._last_time = str(time)[:_LONGEST_WORD]
        return LogLine(
            replica=self._replica_id,
            revision=self._revision,
            time=self._last_time,
            level=str(record.get(LOG_LEVEL, "INFO"))[:_LONGEST_WORD],
            stream=str(record.get(LOG_STREAM, "stdout"))[:_LONGEST_WORD],
            message=str(record.get(LOG_MESSAGE, "")),
            request_id=_text_or_none(record.get(LOG_REQUEST_ID)),
            trace_id=_text_or_none(record.get(LOG_TRACE_ID)),
        )

    def _first_time(self) -> str:
        pieces = self._stream.pieces()
        return moment_text(pieces[0].modified_at if pieces else 0.0)

    def _time_before(self, position: int) -> str:
        """Of the last record before it, for lines that are none; "" when there is no record."""
        pieces = self._stream.pieces()
        oldest, tail = (pieces[0].start if pieces else 0), b""
        while position > oldest:
            begin = max(oldest, position - _BACKWARD_BYTES)
            data = self._span(begin, position) + tail
            end = len(data)
            while (start := data.rfind(_RECORD_BEGINS, 0, end)) >= 0:
                record = read_record(data[start:].partition(b"\n")[0])
                if record is not None:
                    return str(record[LOG_TIME])
                end = start
            position, tail = begin, data[:CHUNK_BYTES]
        return ""

    def _span(self, begin: int, end: int) -> bytes:
        """What lies between two positions, over several files."""
        parts = []
        while begin < end:
            data, begin = self._stream.read(begin, end - begin)
            if not data:
                break
            parts.append(data)
        return b"".join(parts)

    def _first_position(self, pieces: Sequence[Piece]) -> int:
        since = self._query.since
        if since is None or not pieces:
            return pieces[0].start if pieces else 0
        if pieces[-1].modified_at < since - _TICK_S:  # also of logs without a single record
            return pieces[-1].start + pieces[-1].size
        return search(self._stream, moment_text(since - _DISORDER_S)).below


class Found(NamedTuple):
    """Positions of lines' beginnings (or the stream's ends) between which a time begins."""

    below: int
    above: int


def search(stream: LogStream, time: str) -> Found:
    """Where `time`, as logs write it, begins, to within a chunk: lines before `below` are older, from `above` on not.

    Among lines that are no records it stays where it is: too wide is slow, too narrow would lose lines.
    """
    pieces = stream.pieces()
    below, above = (pieces[0].start, pieces[-1].start + pieces[-1].size) if pieces else (0, 0)
    low, high = below, above
    while high - low > CHUNK_BYTES:
        middle = (low + high) // 2
        found = _next_record(stream, middle, high)
        if found is None:
            high = middle
        elif found[1] < time:
            low = below = found[0]
        else:
            high, above = middle, found[0]
    return Found(below, above)


def _next_record(stream: LogStream, position: int, end: int) -> tuple[int, str] | None:
    """Where the first record after `position` begins, and its time; None when none begins within a chunk."""
    data, after = stream.read(position, min(CHUNK_BYTES, end - position))
    start = after - len(data)  # what was rotated away has moved it
    begin = data.find(b"\n") + 1
    while begin and (line_end := data.find(b"\n", begin)) >= 0:
        record = read_record(data[begin:line_end])
        if record is not None:
            return start + begin, str(record[LOG_TIME])
        begin = line_end + 1
    return None


def read_record(text: bytes) -> dict[str, Any] | None:
    """A line of the contract's form, or None: what a model prints may well be JSON of its own."""
    if not text.startswith(b"{"):
        return None
    try:
        record = orjson.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and LOG_MESSAGE in record and LOG_TIME in record else None


def _split(text: bytes) -> tuple[bytes, dict[str, Any] | None]:
    """(output without a line end, the record that stands behind it in the same line, if one does)"""
    start = text.find(_RECORD_BEGINS, 1)
    record = read_record(text[start:]) if start > 0 else None
    return (text, None) if record is None else (text[:start], record)


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)[:_LONGEST_ID]
