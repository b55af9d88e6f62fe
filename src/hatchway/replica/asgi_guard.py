"""Admission, deadlines and identity for an ASGI application: the middleware that stands between uvicorn and it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from hatchway.contract import (
    HEADER_ATTEMPT,
    HEADER_HELD,
    HEADER_REQUEST_ID,
    HEADER_REVISION,
    HEADER_TIMEOUT,
    Launch,
)
from hatchway.replica.calls import Counts, patience_s
from hatchway.replica.connection import max_body_of, request_id_of, root_path_of
from hatchway.replica.gate import Gate, Job, LoopSlots
from hatchway.replica.logs import Log, current_request_id, format_exception
from hatchway.replica.records import PATH_BYTES, SLOW_S, Record, Records
from hatchway.replica.refusals import OVERLOADED, overload_headers, timed_out
from hatchway.replica.tracing import Trace, Tracer, enter, trace_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = HEADER_REQUEST_ID.encode()
_ATTEMPT = HEADER_ATTEMPT.encode()
_HELD = HEADER_HELD.encode()
_DENIAL = "websocket.http.response"  # ASGI extension: a handshake may be answered like any request
_LEFT = ("ClientDisconnect", "WebSocketDisconnect")  # what Starlette raises in an endpoint when the client leaves
_INTERNAL_ERROR = 1011  # WebSocket close code


class Guard:
    """Wraps an application. `state` is what its lifespan left for requests."""

    def __init__(self, app: AsgiApp, gate: Gate, log: Log, launch: Launch, *, path_holds_root: bool) -> None:
        self.app = app
        self.gate = gate
        self.log = log
        self.revision = launch.revision.encode()
        self._max_body_bytes = launch.max_body_bytes
        self._root_path = launch.endpoint.rstrip("/")
        self._path_holds_root = path_holds_root
        self.counts = Counts()
        self.records = Records()
        self.tracer: Tracer | None = None
        self.slots = LoopSlots(gate, gate.admission.max_concurrency, _admit)
        gate.runner = self.slots
        self.state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {**self.state, **scope.get("state", {})}
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        fields = dict(scope["headers"])
        self._mount(scope, root_path_of(fields, self._root_path))
        request_id = request_id_of(fields.get(_REQUEST_ID))
        if fields.get(_REQUEST_ID) != request_id.encode():
            others = [header for header in scope["headers"] if header[0] != _REQUEST_ID]
            scope["headers"] = [*others, (_REQUEST_ID, request_id.encode())]
        current_request_id.set(request_id)
        limit = max_body_of(fields, self._max_body_bytes)
        await _Call(self, scope, receive, send, request_id, limit).answer(fields)

    def _mount(self, scope: Scope, root_path: str) -> None:
        """Tell the application where it is served, in the way of the uvicorn and Starlette that it uses."""
        scope["root_path"] = root_path
        if self._path_holds_root:
            scope["path"] = root_path + scope["path"]
            scope["raw_path"] = root_path.encode() + scope.get("raw_path", b"")


class _Call:
    """One request of an ASGI application: a job of the gate."""

    def __init__(
        self, guard: Guard, scope: Scope, receive: Receive, send: Send, request_id: str, max_body_bytes: int
    ) -> None:
        self._guard = guard
        self._scope = scope
        self._receive = receive
        self._send = send
        self.request_id = request_id
        self._max_body_bytes = max_body_bytes
        self._kept: deque[Message] = deque()  # what came while it waited for a slot
        self._body_bytes = 0
        self._task: asyncio.Task[Any] | None = None
        self._cancel_scope = _a_cancel_scope()
        self._admitted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._overdue: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._is_cut_off = False  # we answered in the application's place: what it sends is dropped
        self._is_answer_complete = False
        self._has_left = False  # the client, as the application knows
        self._failed = False
        self._status = 0
        self._sent_bytes = 0
        self._outcome = "answered"  # once it is over
        self._came_at = 0.0
        self._fields: dict[bytes, bytes] = {}
        self.answered = False
        self.batch = None
        self.trace: Trace | None = None
        self.started_at = 0.0
        self.deadline = math.inf

    async def answer(self, fields: dict[bytes, bytes]) -> None:
        guard, now = self._guard, time.monotonic()
        self._came_at, self._fields = now, fields
        if guard.tracer is not None and (trace := trace_of(fields)) is not None:
            self.trace = trace
            self._scope["headers"] = trace.passed_on(self._scope["headers"])
        length = fields.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body_bytes:
            await self._too_large()
            return
        self.deadline = now + patience_s(fields.get(HEADER_TIMEOUT.encode(), b""), guard.gate.timeout_s)
        if self.deadline <= now:
            self.time_out(is_running=False)
        elif not guard.gate.enter(self, now):
            self.refuse()
        elif guard.gate.admission.is_waiting(self):
            await self._wait_in_queue()
        if not await self._admitted:
            await self._turn_away()
            self._keep(time.monotonic())
            return
        try:
            await self._run()
        finally:
            guard.counts.requests += self.answered
            guard.counts.errors += self._failed
            now = time.monotonic()
            self._keep(now)
            guard.gate.leave(self, now)
            guard.slots.release()

    # --- the job ---------------------------------------------------------------------------------------------
    def admit(self) -> None:
        if not self._admitted.done():
            self._admitted.set_result(True)

    def time_out(self, *, is_running: bool) -> None:
        if not self._overdue.done():
            self._overdue.set_result(None)
        if not is_running and not self._admitted.done():
            self._admitted.set_result(False)

    def refuse(self) -> None:
        if not self._admitted.done():
            self._admitted.set_result(False)

    def record(self, now: float) -> Record:
        """What became of it, or what is so far."""
        return (
            self.request_id,
            self._came_at,
            self.started_at,
            now,
            self._status,
            self._sent_bytes,
            0,
            self._outcome,
            self._scope.get("method", "GET"),
            self._scope.get("raw_path", b"")[:PATH_BYTES],
            self._fields.get(_ATTEMPT),
            self._fields.get(_HELD),
            self.trace,
        )

    def _keep(self, now: float) -> None:
        records = self._guard.records
        if self._outcome != "answered" or self._status >= 500 or now - self._came_at >= SLOW_S:
            records.keep_notable(self.record(now))
        elif now >= records.open_at:
            records.keep(self.record(now))
        else:
            records.skipped_at = now
        if self.trace is not None and self._guard.tracer is not None:
            self._guard.tracer.end(self.record(now))

    def _say(self, level: str, message: str) -> None:
        trace_id = None if self.trace is None else self.trace.trace_id
        self._guard.log.say(level, message, self.request_id, trace_id)

    def stack(self) -> str:
        return "" if self._task is None else "".join(f"{frame}\n" for frame in self._task.get_stack())

    # --- waiting ---------------------------------------------------------------------------------------------
    async def _wait_in_queue(self) -> None:
        """Until a slot is free, the deadline has passed or the client has gone."""
        watch = asyncio.get_running_loop().create_task(self._watch_client())
        try:
            await asyncio.wait({watch, self._admitted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
        if not self._admitted.done() and self._guard.gate.withdraw(self):
            self._is_cut_off = True  # gone: there is nobody to answer
            self._outcome = "client_left"
            self._admitted.set_result(False)

    async def _watch_client(self) -> None:
        while self._body_bytes <= self._max_body_bytes:
            message = await self._receive()
            self._kept.append(message)
            self._body_bytes += len(message.get("body", b""))
            if message["type"] in ("http.disconnect", "websocket.disconnect"):
                return
        await asyncio.get_running_loop().create_future()

    async def _turn_away(self) -> None:
        guard = self._guard
        if self._overdue.done():
            guard.counts.requests += 1
            await self._timed_out()
        elif not self._is_cut_off:
            self._outcome = "refused"
            guard.counts.refused += 1
            wait_s = guard.gate.admission.retry_after_s(time.monotonic())
            await self._answer_instead(*OVERLOADED, overload_headers(self._fields, wait_s))

    # --- running ---------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        self._body_bytes = 0
        self._task = asyncio.get_running_loop().create_task(self._run_app())
        try:
            await asyncio.wait({self._task, self._overdue}, return_when=asyncio.FIRST_COMPLETED)
            if not self._task.done():
                self._failed = True
                (self._cancel_scope or self._task).cancel()
                await self._timed_out()
                await asyncio.wait({self._task})  # the slot is taken until it is really gone
        finally:
            if not self._task.done():
                self._task.cancel()

    async def _run_app(self) -> None:
        if self.trace is not None:
            enter(self.trace)
        try:
            with self._cancel_scope or contextlib.nullcontext():
                await self._guard.app(self._scope, self._next_message, self._pass_on)
        except BaseException as exc:  # noqa: BLE001 (whatever the application raises is answered and logged)
            if isinstance(exc, asyncio.CancelledError) or (self._has_left and type(exc).__name__ in _LEFT):
                return
            self._failed = True
            self._outcome = "failed" if self._outcome == "answered" else self._outcome
            text = format_exception(type(exc), exc, exc.__traceback__)
            self._say("ERROR", f"the application failed:\n{text}")
            if self._scope["type"] == "websocket" and self.answered:
                await self._close_socket()
            else:
                await self._answer_instead(500, "internal_error", "internal server error")

    async def _next_message(self) -> Message:
        message = self._kept.popleft() if self._kept else await self._receive()
        self._has_left = message["type"] in ("http.disconnect", "websocket.disconnect")
        if message["type"] == "http.disconnect" and not self._is_answer_complete:
            self._outcome = "client_left"
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > self._max_body_bytes and message["type"] == "http.request":
            await self._too_large()
            self._has_left = True
            return {"type": "http.disconnect"}
        return message

    async def _pass_on(self, message: Message) -> None:
        if self._is_cut_off or (self._outcome == "client_left" and not self.answered):  # Starlette answers 500 to that
            return
        if message["type"] in ("http.response.start", f"{_DENIAL}.start"):
            self.answered = True
            self._status = message["status"]
            self._failed = self._status >= 500
            message = {**message, "headers": [*message.get("headers", ()), *self._identity(message)]}
        elif message["type"] == "http.response.body":
            self._sent_bytes += len(message.get("body", b""))
            self._is_answer_complete = not message.get("more_body", False)
        elif message["type"] == "websocket.accept":
            self.answered = True
            self._status = 101
            message = {**message, "headers": [*message.get("headers", ()), *self._identity(message)]}
        elif message["type"] == "websocket.close":
            self.answered = True  # before it accepted: with 403
            self._status = self._status or 403
        await self._send(message)

    def _identity(self, message: Message) -> list[tuple[bytes, bytes]]:
        present = {bytes(name).lower() for name, _ in message.get("headers", ())}
        ours = [(_REQUEST_ID, self.request_id.encode()), (HEADER_REVISION.encode(), self._guard.revision)]
        return [header for header in ours if header[0] not in present]

    # --- answers in the application's place ------------------------------------------------------------------
    async def _timed_out(self) -> None:
        self._outcome = "timed_out"
        status, kind, message = timed_out(is_running=self._task is not None)
        self._say("WARNING", message)
        await self._answer_instead(status, kind, message)

    async def _too_large(self) -> None:
        limit = self._max_body_bytes
        message = f"the request body exceeds the API's limit of {limit} bytes"
        await self._answer_instead(413, "body_too_large", message, [(b"connection", b"close")])

    async def _answer_instead(
        self, status: int, error: str, message: str, extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        if self.answered or self._is_cut_off:
            self._is_cut_off = True
            return
        self.answered = self._is_cut_off = True
        self._status = status
        body = orjson.dumps({"error": {"kind": error, "message": message, "request_id": self.request_id}})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(extra or ())]
        kind = "http.response" if self._scope["type"] == "http" else _DENIAL
        if kind == _DENIAL and _DENIAL not in (self._scope.get("extensions") or {}):
            await self._send({"type": "websocket.close", "code": _INTERNAL_ERROR})  # an old uvicorn makes it a 403
            return
        start: Message = {"type": f"{kind}.start", "status": status, "headers": headers}
        with contextlib.suppress(OSError):  # newer uvicorn says so when the client has gone
            await self._send({**start, "headers": [*headers, *self._identity(start)]})
            await self._send({"type": f"{kind}.body", "body": body})

    async def _close_socket(self) -> None:
        """An application that fails leaves its WebSocket open, and uvicorn would drop it without a word."""
        with contextlib.suppress(OSError, RuntimeError):  # the client has gone, or the application has closed it
            await self._send({"type": "websocket.close", "code": _INTERNAL_ERROR})


def _admit(jobs: list[Job]) -> None:
    for job in jobs:
        assert isinstance(job, _Call)
        job.admit()


def _a_cancel_scope() -> Any:
    """anyio's, if the application uses it: it waits for the threads of sync endpoints, which a plain cancel leaves
    running without a slot. None if it does not."""
    anyio = sys.modules.get("anyio")
    return anyio.CancelScope() if anyio is not None else None
