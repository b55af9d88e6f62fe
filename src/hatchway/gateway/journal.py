"""The gateway's journal, read: what Envoy noted of requests that failed, were slow or were tried again.

Envoy appends to it and keeps what is newest for up to ten seconds; whoever looks for a request has it written first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from hatchway.errors import GatewayError
from hatchway.gateway.envoy import CLUSTER_PREFIX
from hatchway.rotation import LogStream

MAX_FILE_BYTES = 16 * 1024 * 1024
KEPT_ARCHIVES = 1
ROTATE_S = 10.0  # overload writes a megabyte a second

_WRITTEN_WITHIN_S = 0.2
_POLL_S = 0.01
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """What Envoy says of one request."""

    request_id: str
    at: str  # ISO 8601, UTC
    method: str
    path: str
    api: str | None  # None: no API is served at the path
    status: int  # 0: nothing was answered
    flags: tuple[str, ...]  # Envoy's own words, "UH", "DC", ...
    detail: str
    took_s: float
    response_bytes: int
    attempts: int
    last: str | None  # the socket that answered, or was tried last


class Journal:
    """The file. `write_out` has Envoy write what it buffers; it may raise GatewayError."""

    def __init__(self, path: Path, write_out: Callable[[], Awaitable[None]]) -> None:
        self.path = path
        self._stream = LogStream(path, max_file_bytes=MAX_FILE_BYTES, kept_archives=KEPT_ARCHIVES)
        self._write_out = write_out

    async def find(self, request_id: str) -> list[Entry]:
        """Every request of this id that was noted, the oldest first."""
        with contextlib.suppress(GatewayError):
            await self._write_out()
        reader = _Reader(self._stream)
        found = [entry async for entry in reader.entries(request_id)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITTEN_WITHIN_S):
                while not found:  # Envoy writes in a thread of its own, which has no event for us
                    await asyncio.sleep(_POLL_S)
                    found = [entry async for entry in reader.entries(request_id)]
        return found

    async def rotate_forever(self) -> None:
        """Until cancelled."""
        while True:
            self._stream.rotate()
            await asyncio.sleep(ROTATE_S)


class _Reader:
    """Goes through the file once, and then on from there."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream
        self._position = 0
        self._pending = b""

    async def entries(self, request_id: str) -> AsyncIterator[Entry]:
        needle = request_id.encode()
        while True:
            data, self._position = self._stream.read(self._position, _CHUNK_BYTES)
            if not data:
                return
            whole, _, rest = (self._pending + data).rpartition(b"\n")
            self._pending = rest
            for line in whole.split(b"\n") if needle in whole else ():
                entry = parse(line) if needle in line else None
                if entry is not None and entry.request_id == request_id:
                    yield entry
            await asyncio.sleep(0)


def parse(line: bytes) -> Entry | None:
    """None for what is no entry: a line whose beginning was rotated away."""
    try:
        found = orjson.loads(line)
        cluster = found["cluster"] or ""
        return Entry(
            request_id=str(found["request_id"]),
            at=str(found["at"]),
            method=str(found["method"] or ""),
            path=str(found["path"] or ""),
            api=cluster.removeprefix(CLUSTER_PREFIX) or None,
            status=int(found["status"] or 0),
            flags=tuple(word for word in (found["flags"] or "").split(",") if word not in ("", "-")),
            detail=str(found["detail"] or ""),
            took_s=(found["took_ms"] or 0) / 1000,
            response_bytes=int(found["response_bytes"] or 0),
            attempts=int(found["attempts"] or 0),
            last=found["last"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
