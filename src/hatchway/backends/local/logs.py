"""The logs of an API's replicas: one stream of files per replica, read back merged by time.

`LOGS/apis/API/REVISION--REPLICA.log` holds what the replica wrote, JSON records of contract.py or plain lines of C
code, and what the engine has to say about it. Files outlive their replicas, within a limit per API, until the API is
forgotten. All functions that touch files are quick; long readings yield to the loop between chunks.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from hatchway.backends.local.log_reading import CHUNK_BYTES, Cursor
from hatchway.backends.local.log_tail import newest
from hatchway.contract import LOG_LEVEL, LOG_MESSAGE, LOG_STREAM, LOG_TIME
from hatchway.rotation import LogStream
from hatchway.spec.logs import LogQuery, moment_text
from hatchway.spec.status import LogLine

MAX_GONE_BYTES = 256 * 1024 * 1024  # per API, of replicas that are gone
MAX_GONE_LOGS = 50
_POLL_S = 0.15  # files that grow make no event that asyncio could wait for
_LINES_PER_TURN = 200


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
        record = {LOG_TIME: moment_text(now), LOG_LEVEL: level, LOG_STREAM: "replica", LOG_MESSAGE: message}
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

    async def read(self, api: str, query: LogQuery, *, follow: bool) -> AsyncIterator[LogLine]:
        """The wanted lines, oldest first, merged by time; `follow` waits for more until closed."""
        cursors: dict[Path, Cursor] = {}
        if query.max_bytes is None:
            self._discover(api, query, cursors)
            async for line in _merged(cursors.values()):
                yield line
        else:
            for line in await self._newest(api, query, query.max_bytes, cursors):
                yield line
        for cursor in cursors.values():
            cursor.tell_all_from_now_on()
        while follow:
            self._discover(api, query, cursors)
            news = [step for cursor in cursors.values() for step in cursor.steps(cursor.position + CHUNK_BYTES)]
            for step in sorted(news, key=lambda step: step.time):
                if step.line is not None:
                    yield step.line
            await asyncio.sleep(0 if news else _POLL_S)

    async def _newest(
        self, api: str, query: LogQuery, max_bytes: int, cursors: dict[Path, Cursor]
    ) -> Sequence[LogLine]:
        logs = {log.path: log for log in self.of(api) if query.is_of(log.revision, log.replica_id)}

        def open_at(path: Path, position: int | None = None) -> Cursor:
            log = logs[path]
            return Cursor(log.stream, log.revision, log.replica_id, query, start=position)

        found = await newest({path: open_at(path).end() for path in logs}, open_at, max_bytes)
        cursors.update(found.cursors)
        return found.lines

    def _discover(self, api: str, query: LogQuery, cursors: dict[Path, Cursor]) -> None:
        for log in self.of(api):
            if log.path not in cursors and query.is_of(log.revision, log.replica_id):
                cursors[log.path] = Cursor(log.stream, log.revision, log.replica_id, query)


async def _merged(cursors: Collection[Cursor]) -> AsyncIterator[LogLine]:
    """All there is now. The end is fixed first, so that a busy replica cannot keep this from ending."""
    history = heapq.merge(*(cursor.steps(cursor.end()) for cursor in cursors), key=lambda step: step.time)
    for count, step in enumerate(history):
        if step.line is not None:
            yield step.line
        if step.line is None or count % _LINES_PER_TURN == 0:
            await asyncio.sleep(0)


class Tail:
    """Reads what is written to a log from now on."""

    def __init__(self, log: ReplicaLog) -> None:
        self._stream = log.stream
        self._cursor = Cursor(log.stream, log.revision, log.replica_id, LogQuery(), start=log.stream.end())

    def messages(self) -> list[str]:
        """What the lines say that were completed since the last call."""
        return [step.line.message for step in self._cursor.steps(self._stream.end()) if step.line is not None]
