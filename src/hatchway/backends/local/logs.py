"""The logs of an API's replicas: one stream of files per replica, read back merged by time.

`LOGS/apis/API/REVISION--REPLICA.log` holds what the replica wrote, JSON records of contract.py or plain lines of C
code, and what the engine has to say about it. Files outlive their replicas, within a limit per API, until the API is
forgotten. All functions that touch files are quick; long readings yield to the loop between chunks.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hatchway.contract import LOG_LEVEL, LOG_MESSAGE, LOG_REQUEST_ID, LOG_STREAM, LOG_TIME
from hatchway.rotation import LogStream
from hatchway.spec.status import LogLine

MAX_GONE_BYTES = 256 * 1024 * 1024  # per API, of replicas that are gone
MAX_GONE_LOGS = 50
_POLL_S = 0.15  # files that grow make no event that asyncio could wait for
_CHUNK_BYTES = 256 * 1024
_LONGEST_LINE_BYTES = 1024 * 1024
_LINES_PER_TURN = 500


@dataclass(frozen=True)
class Wanted:
    """Which lines somebody asked for. `since` is in seconds since the epoch."""

    replica_id: str | None = None
    since: float | None = None
    request_id: str | None = None


class ReplicaLog:
    """The log of one replica."""

    def __init__(self, folder: Path, revision: str, replica_id: str) -> None:
        self.revision = revision
        self.replica_id = replica_id
        self.stream = LogStream(folder / f"{revision}--{replica_id}.log")

    @property
    def path(self) -> Path:
        return self.stream.live

    def say(self, level: str, message: str, now: float) -> None:
        """Append a line of the engine's own. One that cannot be written is lost: a full disk ends no replica."""
        record = {LOG_TIME: to_text(now), LOG_LEVEL: level, LOG_STREAM: "replica", LOG_MESSAGE: message}
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.stream.append(json.dumps(record))


class ApiLogs:
    """The logs of every API of a home."""

    def __init__(self, logs_dir: Path) -> None:
        self._root = logs_dir / "apis"

    def folder(self, api: str) -> Path:
        return self._root / api

    def open(self, api: str, revision: str, replica_id: str) -> ReplicaLog:
        folder = self._root / api
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ReplicaLog(folder, revision, replica_id)

    def of(self, api: str) -> list[ReplicaLog]:
        """Every log there is of an API, in no order."""
        folder = self._root / api
        names = {path.name.partition(".log")[0] for path in folder.glob("*.log*")}
        found = (name.partition("--") for name in names)
        return [ReplicaLog(folder, revision, replica_id) for revision, _, replica_id in found if replica_id]

    def forget(self, api: str) -> int:
        """Delete an API's logs. Returns the bytes freed."""
        freed = sum(log.stream.delete() for log in self.of(api))
        folder = self._root / api
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        return freed

    def trim(self, api: str, living: frozenset[str]) -> int:
        """Delete the oldest logs of replicas that are gone, beyond what is kept. Returns the bytes freed."""
        gone = [(log, log.stream.pieces()) for log in self.of(api) if log.replica_id not in living]
        gone.sort(key=lambda item: item[1][-1].modified_at if item[1] else 0.0, reverse=True)
        kept_bytes = freed = 0
        for count, (log, pieces) in enumerate(gone, start=1):
            kept_bytes += sum(piece.size for piece in pieces)
            if count > MAX_GONE_LOGS or kept_bytes > MAX_GONE_BYTES:
                freed += log.stream.delete()
        return freed

    async def read(self, api: str, wanted: Wanted, *, follow: bool) -> AsyncIterator[LogLine]:
        """The wanted lines, oldest first, merged by time; `follow` waits for more until closed."""
        cursors: dict[Path, _Cursor] = {}
        self._discover(api, wanted, cursors)
        ends = [(cursor, cursor.log.stream.end()) for cursor in cursors.values()]
        # The end is fixed at the start, so that a busy replica cannot keep the first reading from ending.
        history = heapq.merge(*(cursor.lines(end) for cursor, end in ends), key=lambda line: line.time)
        for count, line in enumerate(history):
            if matches(line, wanted):
                yield line
            if count % _LINES_PER_TURN == 0:
                await asyncio.sleep(0)
        while follow:
            self._discover(api, wanted, cursors)
            news = [line for cursor in cursors.values() for line in cursor.lines(cursor.position + _CHUNK_BYTES)]
            for line in sorted(news, key=lambda line: line.time):
                if matches(line, wanted):
                    yield line
            await asyncio.sleep(0 if news else _POLL_S)

    def _discover(self, api: str, wanted: Wanted, cursors: dict[Path, _Cursor]) -> None:
        for log in self.of(api):
            if log.path not in cursors and wanted.replica_id in (None, log.replica_id):
                cursors[log.path] = _Cursor(log, start=_first_position(log, wanted.since))


class Tail:
    """Reads what is written to a log from now on."""

    def __init__(self, log: ReplicaLog) -> None:
        self._log = log
        self._cursor = _Cursor(log, log.stream.end())

    def messages(self) -> list[str]:
        """What the lines say that were completed since the last call."""
        return [line.message for line in self._cursor.lines(self._log.stream.end())]


@dataclass
class _Cursor:
    """Reads one log onwards, line by line."""

    log: ReplicaLog
    start: int
    position: int = 0
    pending: bytes = b""
    last_time: str = field(default="")

    def __post_init__(self) -> None:
        self.position = self.start

    def lines(self, until: int) -> Iterator[LogLine]:
        """Whole lines up to the position `until`; what is left of an unfinished one waits for the next call."""
        while self.position < until:
            data, self.position = self.log.stream.read(self.position, min(_CHUNK_BYTES, until - self.position))
            if not data:
                return
            *whole, self.pending = (self.pending + data).split(b"\n")
            if len(self.pending) > _LONGEST_LINE_BYTES:  # output without line ends must not fill our memory
                whole, self.pending = [*whole, self.pending], b""
            yield from (self._parse(text) for text in whole if text.strip())

    def _parse(self, text: bytes) -> LogLine:
        record = _record(text)
        if record is None:
            record = {LOG_MESSAGE: text.decode(errors="replace").rstrip("\r")}
        self.last_time = str(record.get(LOG_TIME) or self.last_time or self._first_time())
        request_id = record.get(LOG_REQUEST_ID)
        return LogLine(
            replica=self.log.replica_id,
            revision=self.log.revision,
            time=self.last_time,
            level=str(record.get(LOG_LEVEL, "INFO")),
            stream=str(record.get(LOG_STREAM, "stdout")),
            message=str(record.get(LOG_MESSAGE, "")),
            request_id=None if request_id is None else str(request_id),
        )

    def _first_time(self) -> str:
        pieces = self.log.stream.pieces()
        return to_text(pieces[0].modified_at if pieces else 0.0)


def matches(line: LogLine, wanted: Wanted) -> bool:
    """Whether a line is one that was asked for (its replica was chosen before)."""
    if wanted.since is not None and line.time < to_text(wanted.since):
        return False
    return wanted.request_id in (None, line.request_id)


def to_text(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds; texts of this form sort by time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _record(text: bytes) -> dict[str, object] | None:
    """A line of the contract's form, or None: what a model prints may well be JSON of its own."""
    if not text.startswith(b"{"):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and LOG_MESSAGE in record and LOG_TIME in record else None


def _first_position(log: ReplicaLog, since: float | None) -> int:
    """Where to begin: whole files that were last written before `since` hold nothing of interest."""
    pieces = log.stream.pieces()
    for piece in pieces:
        if since is None or piece.modified_at >= since:
            return piece.start
    return pieces[-1].start + pieces[-1].size if pieces else 0
