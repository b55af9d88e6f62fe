"""Requests that are traced: their ids, what the user's own spans nest under, and the way to the engine.

Whether a request is traced was decided by the gateway, which says so in `traceparent` (W3C trace context). What a
span needs is in the request's record anyway: records of traced requests are sent to the engine in batches, which
makes spans of them and exports them. So no exporter, and none of its credentials, is in the user's process. Nothing
here waits: when the engine does not take them they are kept up to a limit, then dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import orjson

from hatchway.contract import (
    HEADER_TRACE_PARENT,
    HEADER_TRACE_STATE,
    TRACES_PATH,
    Launch,
    TracedRequest,
    TraceReport,
)
from hatchway.replica.logs import Log, current_trace_id
from hatchway.replica.metrics import Counter, Metrics
from hatchway.replica.records import Record, to_record

MAX_STATE_BYTES = 512  # of tracestate, as W3C wants at least; callers may send 60 KB, and thousands of them are kept
MAX_WAITING = 2048  # traced requests that were not sent yet
FLUSH_AFTER_S = 1.0
RETRY_AFTER_S = 5.0
SEND_TIMEOUT_S = 2.0

_PARENT = HEADER_TRACE_PARENT.encode()
_STATE = HEADER_TRACE_STATE.encode()
_VALID = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")

Fields = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Trace:
    """One traced request: hexadecimal ids of its trace, of the gateway's span, and of two spans of ours."""

    trace_id: str
    parent_id: str
    state: str  # tracestate, passed on as it is
    request_span_id: str = field(default_factory=lambda: token_hex(8))
    handler_span_id: str = field(default_factory=lambda: token_hex(8))

    def passed_on(self, fields: Fields) -> Fields:
        """The request's headers as the handler gets them: what it calls in turn is below its own span."""
        parent = f"00-{self.trace_id}-{self.handler_span_id}-01".encode()
        return [(name, parent if name == _PARENT else value) for name, value in fields]


def trace_of(fields: Mapping[bytes, bytes]) -> Trace | None:
    """None for a request that is not traced."""
    found = _VALID.fullmatch(fields.get(_PARENT, b""))
    if found is None or not int(found[3], 16) & 1 or not int(found[1], 16) or not int(found[2], 16):
        return None
    state = fields.get(_STATE, b"")
    kept = state if len(state) <= MAX_STATE_BYTES else b""
    return Trace(found[1].decode(), found[2].decode(), kept.decode("latin-1"))


def enter(trace: Trace) -> None:
    """In the context of a handler's call: its log lines name the trace, its spans nest under the handler's.

    Only if it has imported opentelemetry's API: nobody else makes spans.
    """
    current_trace_id.set(trace.trace_id)
    api: Any = sys.modules.get("opentelemetry.trace")
    contexts: Any = sys.modules.get("opentelemetry.context")
    if api is None or contexts is None:
        return
    ours = api.SpanContext(
        trace_id=int(trace.trace_id, 16),
        span_id=int(trace.handler_span_id, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED),
        trace_state=api.TraceState.from_header([trace.state]) if trace.state else None,
    )
    contexts.attach(api.set_span_in_context(api.NonRecordingSpan(ours)))


class Tracer:
    """Sends traced requests to the engine. All of it belongs to the event loop."""

    def __init__(self, launch: Launch, socket_path: str, log: Log, metrics: Metrics) -> None:
        self._launch = launch
        self._socket_path = socket_path
        self._log = log
        self._dropped = metrics.add("hatchway_spans_dropped", Counter())
        self._n_told = 0  # of those that were dropped, how many the engine knows of
        self._waiting: deque[Record] = deque()
        self._task: asyncio.Task[None] | None = None

    def end(self, record: Record) -> None:
        """The request of this record is over; `record` ends with its Trace."""
        if len(self._waiting) >= MAX_WAITING:
            if not self._dropped.value:
                self._log.say("WARNING", "the engine takes no spans: those of new requests are dropped")
            self._dropped.add()
            return
        self._waiting.append(record)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_later(), name="traces")

    async def close(self) -> None:
        """Send what waits, once."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._waiting:
            await self._send()

    async def _send_later(self) -> None:
        await asyncio.sleep(FLUSH_AFTER_S)
        while not await self._send():  # noqa: ASYNC110 (another process has no event for us)
            await asyncio.sleep(RETRY_AFTER_S)
        self._task = None

    async def _send(self) -> bool:
        """Whether all that waited then was taken."""
        offset_s = time.time() - time.monotonic()
        requests, dropped = [_traced(record, offset_s) for record in self._waiting], int(self._dropped.value)
        launch = self._launch
        report = TraceReport(launch.api, launch.revision, launch.replica_id, requests, dropped - self._n_told)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                is_taken = await _post(self._socket_path, orjson.dumps(report))
        except (OSError, EOFError, ValueError):  # TimeoutError is an OSError
            return False
        if is_taken:
            self._n_told = dropped
            for _ in requests:
                self._waiting.popleft()
        return is_taken and not self._waiting


def _traced(record: Record, offset_s: float) -> TracedRequest:
    trace: Trace = record[-1]
    return TracedRequest(
        parent_id=trace.parent_id,
        request_span_id=trace.request_span_id,
        handler_span_id=trace.handler_span_id,
        state=trace.state,
        record=to_record(record, offset_s),
    )


async def _post(socket_path: str, body: bytes) -> bool:
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        head = (
            f"POST {TRACES_PATH} HTTP/1.1\r\nhost: engine\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
