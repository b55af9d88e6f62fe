"""One request to a handler: admitted, decoded, called in a thread or in the loop, answered.

A call is an exchange (of `connection.py`), a job (of `gate.py`) and, for sync handlers, a task (of `workers.py`).
Whatever happens in a handler becomes an answer: its exceptions a 500 without details (the log has the traceback under
the request's id), SystemExit included.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hatchway.contract import HEADER_ATTEMPT, HEADER_OVERLOADED, HEADER_TIMEOUT
from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.admission import Verdict
from hatchway.replica.connection import ClientGone, Exchange, ExtraHeaders, Sink, root_path_of
from hatchway.replica.follow_ups import FollowUp, FollowUps, split
from hatchway.replica.gate import Gate
from hatchway.replica.loading import Handler, Method
from hatchway.replica.logs import Log, current_request_id, format_exception
from hatchway.replica.requests import Headers, QueryParams, Request
from hatchway.replica.responses import (
    JSON_LINES,
    Answer,
    encode_item,
    is_awaitable,
    is_stream,
    needs_relay,
    relay,
    render,
    stream_async,
    stream_headers,
    stream_type,
)
from hatchway.replica.serialise import NotSerialisable
from hatchway.replica.sse import EVENT_STREAM, encode_error
from hatchway.replica.workers import Workers

_ATTEMPT = HEADER_ATTEMPT.encode()
_TIMEOUT = HEADER_TIMEOUT.encode()
_OVERLOADED = HEADER_OVERLOADED.encode()
_CONTENT_TYPE = b"content-type"


@dataclass
class Counts:
    """What a replica has answered since its start."""

    requests: int = 0
    errors: int = 0
    refused: int = 0


@dataclass
class App:
    """What all calls of a replica share."""

    handler: Handler
    gate: Gate
    workers: Workers
    follow_ups: FollowUps
    log: Log
    root_path: str
    counts: Counts = field(default_factory=Counts)
    context: Context = field(default_factory=copy_context)  # what each call starts from
    tasks: set[asyncio.Task[None]] = field(default_factory=set)  # the loop holds its tasks by weak references only


class Call(Exchange):
    """See the module's docstring. `thread_id` is the worker that runs it, for the stack of a stuck one."""

    __slots__ = (
        "_app",
        "_arguments",
        "_context",
        "_follow_up",
        "_method",
        "_result",
        "_streams_events",
        "_task",
        "deadline",
        "failed",
        "failure",
        "started_at",
        "thread_id",
    )

    def __init__(
        self, app: App, connection: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(connection, method, target, headers)
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._result: Any = None
        self._streams_events = False
        self._follow_up: Callable[[], Any] | None = None
        self.thread_id: int | None = None
        self.failure: BaseException | None = None
        self.failed = False
        self.started_at = 0.0
        self.deadline = math.inf

    # --- as an exchange ----------------------------------------------------------------------------------
    def begin(self) -> None:
        app = self._app
        if self.fields.get(b"upgrade", b"").lower() == b"websocket":
            message = "this API speaks no WebSocket: only an ASGI application (handler.app) can"
            self.answer_error(400, "no_websocket", message)
            return
        method = app.handler.methods.get("GET" if self.is_head else self.method)
        if method is None:
            self._answer_other_verb()
            return
        self._method: Method = method
        now = time.monotonic()
        asked = self.fields.get(_TIMEOUT)
        self.deadline = now + (app.gate.timeout_s if asked is None else patience_s(asked, app.gate.timeout_s))
        if self.deadline <= now:
            self.time_out(is_running=False)
        elif app.gate.enter(self, now) is Verdict.FULL:
            self.refuse()

    def client_left(self) -> None:
        if not self._app.gate.withdraw(self) and self._task is not None:
            self._task.cancel()

    def _answer_other_verb(self) -> None:
        methods = self._app.handler.methods
        verbs = sorted({*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))
        allow: ExtraHeaders = [(b"allow", ", ".join(verbs).encode())]
        if self.method == "OPTIONS":
            self.answer(204, b"", b"", allow)
        elif self.method in ("GET", "HEAD") and "POST" in methods:
            self.answer_error(405, "method_not_allowed", "send a POST request with the payload as its body", allow)
        else:
            self.answer_error(405, "method_not_allowed", f"{self.method} is not answered here", allow)

    # --- as a job ----------------------------------------------------------------------------------------
    def run(self) -> None:
        self._context = self._app.context.copy()
        self._context.run(current_request_id.set, self.request_id)
        method = self._method
        if method.wants_payload and payloads.is_form(self.fields.get(_CONTENT_TYPE)):
            self._start(self._run_with_form())
            return
        try:
            self._arguments = {name: _ARGUMENTS[name](self) for name in method.arguments}
        except RequestError as exc:
            self.answer_error(exc.status, "bad_request", exc.message)
            self._leave()
            return
        if method.is_async:
            self._start(self._run_async())
        else:
            self._app.workers.submit(self)

    def time_out(self, *, is_running: bool) -> None:
        waited = "" if is_running else " while it waited for a free slot"
        self._app.log.say("WARNING", f"the request timed out{waited}", self.request_id)
        self.failed = is_running
        if not is_running:
            self._app.counts.requests += 1
        self.answer_error(504, "timeout", f"the request timed out{waited}")
        if is_running and self._task is not None:
            self._task.cancel()

    def refuse(self) -> None:
        self._app.counts.refused += 1
        retry_after = str(self._app.gate.admission.retry_after_s(time.monotonic())).encode()
        extra: ExtraHeaders = [(b"retry-after", retry_after)]
        if self.fields.get(_ATTEMPT, b"1") == b"1":  # another replica is tried once, not for ever
            extra.append((_OVERLOADED, b"1"))
        self.answer_error(503, "overloaded", "the API is busy; try again later", extra)

    def stack(self) -> str:
        if self._task is not None:
            frames = [(frame, frame.f_lineno) for frame in self._task.get_stack()]
            return "".join(traceback.StackSummary.extract(iter(frames)).format())
        frame = sys._current_frames().get(self.thread_id or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    # --- in a worker thread ------------------------------------------------------------------------------
    def execute(self) -> None:
        try:
            self._context.run(self._execute)
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the thread lives on)
            self.failure = exc

    def _execute(self) -> None:
        result, self._follow_up = split(self._method.function(**self._arguments))
        if is_stream(result) and hasattr(result, "__next__"):
            self._stream_from_thread(result)
        elif is_stream(result) or is_awaitable(result) or needs_relay(result):
            self._result = result
        else:
            self._result = render(result)

    def _stream_from_thread(self, items: Any) -> None:
        """A sync generator is run to its end by one thread, which waits where the client reads slowly."""
        content_type = b""
        try:
            for item in items:
                if not content_type:
                    content_type = stream_type(item, self.fields.get(b"accept", b""))
                    self._in_loop(self._begin_stream(content_type))
                self._in_loop(self.write(encode_item(item, content_type)))
            if not content_type:
                self._in_loop(self._begin_stream(JSON_LINES))
            self._in_loop(self._complete_stream())
        finally:
            items.close()

    def _in_loop(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._app.workers.loop).result()

    async def _begin_stream(self, content_type: bytes) -> None:
        if self.gone or self.answered:  # by the timeout
            raise ClientGone
        self.start_stream(200, stream_headers(content_type))

    async def _complete_stream(self) -> None:
        self.end_stream()

    # --- in the loop -------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Back from the worker thread."""
        if self.failure is not None:
            self._fail(self.failure)
        elif isinstance(self._result, Answer):
            self._give(self._result)
        elif self._result is not None:
            self._start(self._complete(self._result))
            return
        self._leave()

    async def _run_with_form(self) -> None:
        try:
            form = await payloads.parse_form(self.raw_headers, self.body)
            others = {name: _ARGUMENTS[name](self) for name in self._method.arguments if name != "payload"}
        except RequestError as exc:
            self.answer_error(exc.status, "bad_request", exc.message)
            self._leave()
            return
        except BaseException as exc:  # noqa: BLE001 (cancelled, or a defect of the parser: answered either way)
            self._fail(exc)
            self._leave()
            return
        self._arguments = {"payload": form, **others}
        if self._method.is_async:
            await self._run_async()
            return
        self._task = None
        self._context = self._context.copy()  # this task is still in the other one
        self._app.workers.submit(self)

    async def _run_async(self) -> None:
        try:
            result = self._method.function(**self._arguments)
            if is_awaitable(result):
                result = await result
            result, self._follow_up = split(result)
            if is_stream(result) or needs_relay(result):
                await self._send(result)
            else:
                self._give(render(result))
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the replica lives on)
            self._fail(exc)
        self._leave()

    async def _complete(self, result: Any) -> None:
        """What a sync handler returned has to be awaited, streamed or relayed."""
        try:
            await self._send(result)
        except BaseException as exc:  # noqa: BLE001 (as above)
            self._fail(exc)
        self._leave()

    async def _send(self, result: Any) -> None:
        if is_awaitable(result):
            result, self._follow_up = split(await result)
        if is_stream(result):
            await stream_async(result, self)
        elif needs_relay(result):
            await relay(result, self, root_path_of(self.fields, self._app.root_path))
        else:
            self._give(render(result))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = start_task(coroutine, self._app.workers.loop, self._context)
        if not task.done():
            self._task = task
            self._app.tasks.add(task)
            task.add_done_callback(self._app.tasks.discard)

    def start_stream(self, status: int, headers: ExtraHeaders) -> None:
        self._streams_events = dict(headers).get(_CONTENT_TYPE, b"").startswith(EVENT_STREAM)
        super().start_stream(status, headers)

    # --- answering ---------------------------------------------------------------------------------------
    def _give(self, answer: Answer) -> None:
        if not self.answered:  # by the timeout
            self.failed = answer.status >= 500
            self.answer(answer.status, answer.content_type, answer.body, answer.extra)

    def _fail(self, exc: BaseException) -> None:
        self._follow_up = None
        if isinstance(exc, ClientGone) or (isinstance(exc, asyncio.CancelledError) and (self.gone or self.ended)):
            return  # cancelled by us: nobody waits for an answer
        self.failed = True
        self.failure = exc
        self._app.log.say("ERROR", _describe(exc), self.request_id)
        if not self.answered:
            self.answer_error(500, "internal_error", "internal server error")
        elif self._streams_events:
            self.end_stream(encode_error(self.error_of("internal_error", "internal server error")))
        elif not self.ended:
            self.abort()

    def _leave(self) -> None:
        self._task = None
        self._app.counts.requests += self.answered
        self._app.counts.errors += self.failed
        if self._follow_up is None:
            self._app.gate.leave(self)
        else:
            context = self._context.copy()  # a task may still be in the other one
            leave = partial(self._app.gate.leave, self)
            self._app.follow_ups.add(FollowUp(self._follow_up, context, self.request_id, leave))


_ARGUMENTS: dict[str, Callable[[Call], Any]] = {
    "payload": lambda call: payloads.parse(call.fields.get(_CONTENT_TYPE), call.body),
    "query_params": lambda call: QueryParams(call.target.partition(b"?")[2].decode("latin-1")),
    "headers": lambda call: Headers(call.raw_headers),
    "request": Request,
    "request_id": lambda call: call.request_id,
}


def patience_s(asked: bytes, limit_s: float) -> float:
    """How long an answer may take: what the caller asked for in `x-request-timeout`, within the API's limit."""
    try:
        seconds = float(asked)
    except ValueError:
        return limit_s
    return limit_s if math.isnan(seconds) else min(limit_s, seconds)


def _describe(exc: BaseException) -> str:
    if isinstance(exc, NotSerialisable):
        return f"the handler's result cannot be sent as JSON: {exc}"
    return format_exception(type(exc), exc, exc.__traceback__)


def _start_lazily(
    coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
) -> asyncio.Task[None]:
    return asyncio.Task(coroutine, loop=loop, context=context)


def _start_eagerly(
    coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
) -> asyncio.Task[None]:
    return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)  # type: ignore[call-arg]  # 3.12+


# A task that runs at once and, most often, is over before it was ever scheduled; but a real one, for asyncio.timeout
# and everything else that asks for the current task. Python 3.11 has none: there a task costs a turn of the loop.
start_task = _start_eagerly if sys.version_info >= (3, 12) else _start_lazily
