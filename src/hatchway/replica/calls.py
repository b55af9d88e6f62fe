"""One request to a handler: admitted, decoded, called in a thread or in the loop, answered.

A call is an exchange (of `connection.py`), a job (of `gate.py`) and, for sync handlers, a task (of `workers.py`);
with batching, several are answered by one call of the user's method (`batches.py`).
Whatever happens in a handler becomes an answer: its exceptions a 500 without details (the log has the traceback under
the request's id), SystemExit included.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hatchway.contract import HEADER_ATTEMPT, HEADER_HELD, HEADER_TIMEOUT
from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.batching import BadBatch, FailedTogether
from hatchway.replica.connection import ClientGone, Exchange, ExtraHeaders, Sink, root_path_of
from hatchway.replica.follow_ups import FollowUp, FollowUps, split
from hatchway.replica.gate import Gate, LoopSlots
from hatchway.replica.loading import Handler, Method
from hatchway.replica.logs import Log, current_request_id, format_exception
from hatchway.replica.metrics import Histogram, Metrics
from hatchway.replica.records import PATH_BYTES, SLOW_S, Record, Records
from hatchway.replica.refusals import OVERLOADED, overload_headers, timed_out
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
from hatchway.replica.sampling import look
from hatchway.replica.sampling.sampler import Sampler
from hatchway.replica.serialise import NotSerialisable
from hatchway.replica.sse import EVENT_STREAM, encode_error
from hatchway.replica.tracing import Trace, Tracer, enter, trace_of
from hatchway.replica.workers import Workers

if TYPE_CHECKING:
    from hatchway.replica.batches import Batch

_T = TypeVar("_T")
_ATTEMPT = HEADER_ATTEMPT.encode()
_HELD = HEADER_HELD.encode()
_TIMEOUT = HEADER_TIMEOUT.encode()
_CONTENT_TYPE = b"content-type"
BATCH_SIZE_BOUNDS = tuple(2.0**exponent for exponent in range(11))  # 1 to 1024
_ACCEPT = b"accept"


@dataclass
class Counts:
    """What a replica has answered since its start."""

    requests: int = 0
    errors: int = 0
    refused: int = 0


class BatchMetrics:
    """How many requests ran together, and how long each had waited for that, in seconds."""

    def __init__(self, metrics: Metrics) -> None:
        self.size = metrics.add("hatchway_batch_size", Histogram(BATCH_SIZE_BOUNDS))
        self.wait_s = metrics.add("hatchway_batch_wait_seconds", Histogram())


@dataclass
class App:
    """What all calls of a replica share."""

    handler: Handler
    gate: Gate
    slots: LoopSlots  # of async handlers
    workers: Workers  # of sync ones
    follow_ups: FollowUps
    log: Log
    root_path: str
    batch_metrics: BatchMetrics | None  # with batching
    sampler: Sampler
    counts: Counts = field(default_factory=Counts)
    records: Records = field(default_factory=Records)
    tracer: Tracer | None = None  # None: nothing is traced
    context: Context = field(default_factory=copy_context)  # what each call starts from
    tasks: set[asyncio.Task[None]] = field(default_factory=set)  # the loop holds its tasks by weak references only


class Call(Exchange):
    """See the module's docstring. `thread_id` is the worker that runs it, for the stack of a stuck one."""

    __slots__ = (
        "_app",
        "_context",
        "_follow_up",
        "_form",
        "_is_streamed",
        "_method",
        "_result",
        "_streams_events",
        "_task",
        "batch",
        "came_at",
        "deadline",
        "failed",
        "failure",
        "is_sampled",
        "looks",
        "outcome",
        "started_at",
        "thread_id",
        "trace",
    )

    def __init__(
        self, app: App, connection: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(connection, method, target, headers)
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._form: Any = None
        self._result: Answer | None = None
        self._is_streamed = False
        self._streams_events = False
        self._follow_up: Callable[[], Any] | None = None
        self.batch: Batch | None = None
        self.is_sampled = False
        self.looks: look.Records = ()
        self.thread_id: int | None = None
        self.failure: BaseException | None = None
        self.failed = False
        self.outcome = "answered"  # once it is over
        self.trace: Trace | None = None
        self.came_at = 0.0
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
        if app.tracer is not None and (trace := trace_of(self.fields)) is not None:
            self.trace = trace
            self.raw_headers = trace.passed_on(self.raw_headers)
        now = time.monotonic()
        asked = self.fields.get(_TIMEOUT)
        self.came_at = now
        self.deadline = now + (app.gate.timeout_s if asked is None else patience_s(asked, app.gate.timeout_s))
        if self.deadline <= now:
            self.time_out(is_running=False)
            return
        self.is_sampled = app.sampler.takes()
        if not app.gate.enter(self, now):
            self.refuse()

    def client_left(self) -> None:
        self.outcome = "client_left"
        if self._app.gate.withdraw(self):
            self._keep(time.monotonic())
        else:
            self._stop()

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
        """In the loop, in one of its slots."""
        self._context = self._fresh_context()
        self.start(self._run_in_loop())

    def time_out(self, *, is_running: bool) -> None:
        status, kind, message = timed_out(is_running=is_running)
        self.say("WARNING", message)
        self.failed = is_running
        self.outcome = "timed_out"
        self.answer_error(status, kind, message)
        if not is_running:
            self._app.counts.requests += 1
            self._keep(time.monotonic())
        else:
            self._stop()

    def _stop(self) -> None:
        """Nobody waits for the answer any more."""
        if self._task is not None:
            self._task.cancel()
        elif self.batch is not None:
            self.batch.caller_gone()

    def refuse(self) -> None:
        self._app.counts.refused += 1
        now = time.monotonic()
        self.outcome = "refused"
        self.answer_error(*OVERLOADED, overload_headers(self.fields, self._app.gate.admission.retry_after_s(now)))
        self._keep(now)

    def stack(self) -> str:
        return self.batch.stack() if self.batch is not None else stack_of(self._task, self.thread_id)

    def record(self, now: float) -> Record:
        """What became of it, or what is so far."""
        target, batch, fields = self.target, self.batch, self.fields
        return (
            self.request_id,
            self.came_at,
            self.started_at,
            now,
            self.status,
            self.sent_bytes,
            0 if batch is None else batch.size,
            self.outcome,
            self.method,
            target if len(target) <= PATH_BYTES else target[:PATH_BYTES],
            fields.get(_ATTEMPT),
            fields.get(_HELD),
            self.trace,
        )

    def _keep(self, now: float) -> None:
        records = self._app.records
        if self.outcome != "answered" or self.status >= 500 or now - self.came_at >= SLOW_S:
            records.keep_notable(self.record(now))
        elif now >= records.open_at:
            records.keep(self.record(now))
        else:
            records.skipped_at = now
        if self.trace is not None and self._app.tracer is not None:
            self._app.tracer.end(self.record(now))

    # --- in a worker thread ------------------------------------------------------------------------------
    def execute(self) -> None:
        self._context = self._app.context.copy()
        try:
            self._context.run(self._execute)
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the thread lives on)
            self.failure = exc

    def _execute(self) -> None:
        self.thread_id = threading.get_ident()
        current_request_id.set(self.request_id)
        if self.trace is not None:
            enter(self.trace)
        if self.is_form:
            self._await_in_loop(self.read_form())
        arguments = self.arguments()
        if self._method.is_async:  # of a class that has sync methods too: they share its slots
            self.failure = self._await_in_loop(self._answer(arguments))
        else:
            self._call_method(arguments)
        if self._follow_up is not None:
            self.in_loop(self.answer_and_leave_follow_up())

    def _call_method(self, arguments: dict[str, Any]) -> None:
        result, self._follow_up = split(self._method.function(**arguments))
        if is_stream(result) and hasattr(result, "__next__"):
            self._stream_from_thread(result)
        elif is_stream(result) or is_awaitable(result) or needs_relay(result):
            self._await_in_loop(self._send(result))
        else:
            self._result = self._render(result)

    def _stream_from_thread(self, items: Any) -> None:
        """A sync generator is run to its end by one thread, which waits where the client reads slowly."""
        content_type = b""
        try:
            for item in items:
                if not content_type:
                    content_type = stream_type(item, self.fields.get(b"accept", b""))
                    self.in_loop(self._begin_stream(content_type))
                self.in_loop(self.write(encode_item(item, content_type)))
            if not content_type:
                self.in_loop(self._begin_stream(JSON_LINES))
            self.in_loop(self._complete_stream())
        finally:
            items.close()

    async def answer_and_leave_follow_up(self) -> None:
        """Returns when the follow-up has its turn: until then it keeps the slot of its call."""
        self.give()
        if self._follow_up is None:
            return
        has_started = self._app.workers.loop.create_future()
        self._leave_follow_up(lambda: has_started.set_result(None))
        await has_started

    def _await_in_loop(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run in the loop what is cancelled when the client leaves or the deadline passes."""
        try:
            return self.in_loop(self._as_task(coroutine))
        except concurrent.futures.CancelledError as exc:
            raise asyncio.CancelledError from exc

    async def _as_task(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        self._task = asyncio.current_task()
        try:
            return await coroutine
        finally:
            self._task = None

    def in_loop(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._app.workers.loop).result()

    async def _begin_stream(self, content_type: bytes) -> None:
        if self.gone or self.answered:  # by the timeout
            raise ClientGone
        self.start_stream(200, stream_headers(content_type))

    async def _complete_stream(self) -> None:
        self.end_stream()

    # --- as one of a batch -------------------------------------------------------------------------------
    def give(self) -> None:
        """Answer, if there is a result by now."""
        result, self._result = self._result, None
        if result is not None:
            self._give(result)

    @property
    def has_follow_up(self) -> bool:
        return self._follow_up is not None

    def accept(self, result: Any) -> None:
        """The result of this call, or the exception that is its error. From any thread."""
        if isinstance(result, BaseException):
            self.failure = result
            return
        try:
            result, self._follow_up = split(result)
            if is_stream(result) or is_awaitable(result) or needs_relay(result):
                self.failure = TypeError(f"a batching method returns values; for one payload it returned {result!r}")
                return
            self._result = self._render(result)
            if self._follow_up is not None:
                self._context = self._fresh_context()
        except Exception as exc:  # noqa: BLE001 (the user's code may raise anything while it is made JSON)
            self._follow_up = None
            self.failure = exc

    # --- in the loop -------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Back from the worker thread."""
        try:
            if self.failure is not None:
                self._fail(self.failure)
            else:
                self.give()
        finally:
            now = time.monotonic()
            self._count(now)
            self._app.gate.leave(self, now)

    async def _run_in_loop(self) -> None:
        failure = await self._answer()
        self._task = None
        if failure is not None:
            self._fail(failure)
        now = time.monotonic()
        self._count(now)
        if self._follow_up is None:
            self._leave_slot(now)
        else:
            self._leave_follow_up(lambda: self._leave_slot(time.monotonic()))

    async def _answer(self, arguments: dict[str, Any] | None = None) -> BaseException | None:
        """What went wrong, if anything did."""
        try:
            if arguments is None:
                if self.is_form:
                    await self.read_form()
                is_slow = self.is_slow_to_read
                arguments = await self._app.workers.call(self.arguments) if is_slow else self.arguments()
            result = self._method.function(**arguments)
            if is_awaitable(result):
                result = await result
            result, self._follow_up = split(result)
            if is_stream(result) or needs_relay(result):
                await self._send(result)
            else:
                self._give(self._render(result))
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the replica lives on)
            self._follow_up = None
            return exc
        return None

    async def _send(self, result: Any) -> None:
        """What has to be awaited, streamed or relayed."""
        if is_awaitable(result):
            result, self._follow_up = split(await result)
        if is_stream(result):
            await stream_async(result, self)
        elif needs_relay(result):
            await relay(result, self, root_path_of(self.fields, self._app.root_path))
        else:
            self._give(self._render(result))

    def _fresh_context(self) -> Context:
        context = self._app.context.copy()
        context.run(current_request_id.set, self.request_id)
        if self.trace is not None:
            context.run(enter, self.trace)
        return context

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = start_task(coroutine, self._app.workers.loop, self._context)
        if not task.done():
            self._task = task
            self._app.tasks.add(task)
            task.add_done_callback(self._app.tasks.discard)

    def start_stream(self, status: int, headers: ExtraHeaders) -> None:
        self._is_streamed = True
        self._streams_events = dict(headers).get(_CONTENT_TYPE, b"").startswith(EVENT_STREAM)
        super().start_stream(status, headers)

    # --- the method's arguments --------------------------------------------------------------------------
    @property
    def is_form(self) -> bool:
        """Its form has to be read before its `arguments`."""
        method = self._method
        return method.wants_payload and method.decoder.takes_forms and payloads.is_form(self.fields.get(_CONTENT_TYPE))

    @property
    def is_slow_to_read(self) -> bool:
        """Its `arguments` may take long, which belongs into a thread."""
        return len(self.body) > self._method.decoder.slow_above_bytes

    async def read_form(self) -> None:
        """Raises RequestError."""
        self._form = await payloads.parse_form(self.raw_headers, self.body)

    def arguments(self) -> dict[str, Any]:
        """Raises RequestError."""
        return {name: _ARGUMENTS[name](self) for name in self._method.arguments}

    def payload(self) -> Any:
        """Raises RequestError."""
        decoder = self._method.decoder
        if self._form is not None:
            value = decoder.decode_form(self._form)
        else:
            value = decoder.decode(self.fields.get(_CONTENT_TYPE), self.body)
        if self.is_sampled:
            self.looks = self._app.sampler.look(value, "input")
        return value

    # --- answering ---------------------------------------------------------------------------------------
    def _render(self, result: Any) -> Answer:
        answer = render(result, self.fields.get(_ACCEPT, b""))
        if self.is_sampled:
            self.looks += self._app.sampler.look(result, "output")
        return answer

    def _give(self, answer: Answer) -> None:
        if self.answered or self.gone:
            self._follow_up = None  # of a result that nobody got, and that will be asked for again
        if not self.answered:  # by the timeout
            self.failed = answer.status >= 500
            if self.is_sampled and self._app.sampler.logs:
                self._app.sampler.log(self, answer)
            self.answer(answer.status, answer.content_type, answer.body, answer.extra)

    def _fail(self, exc: BaseException) -> None:
        self._follow_up = None
        if isinstance(exc, RequestError):
            self.failure = None
            if not self.answered:
                self.answer_request_error(exc)
            return
        if isinstance(exc, ClientGone) or (isinstance(exc, asyncio.CancelledError) and (self.gone or self.ended)):
            return  # cancelled by us: nobody waits for an answer
        self.failed = True
        self.failure = exc
        if self.outcome == "answered":
            self.outcome = "failed"
        self.say("ERROR", _describe(exc))
        if not self.answered:
            self.answer_error(500, "internal_error", "internal server error")
        elif self._streams_events:
            self.end_stream(encode_error(self.error_of("internal_error", "internal server error")))
        elif not self.ended:
            self.abort()

    def say(self, level: str, message: str) -> None:
        """A line of our own in the log, under this request's ids."""
        self._app.log.say(level, message, self.request_id, None if self.trace is None else self.trace.trace_id)

    def _count(self, now: float) -> None:
        self._app.counts.requests += self.answered
        self._app.counts.errors += self.failed
        self._keep(now)
        if self._is_streamed and self.is_sampled:
            self._tell_of_stream()
        self._app.sampler.keep(self, is_sampled=self.is_sampled)

    def _tell_of_stream(self) -> None:
        """Of a streamed answer only its length is known."""
        self.looks += look.streamed(self.sent_bytes)
        if self._app.sampler.logs and not self.failed:
            self._app.sampler.log(self, Answer(b"", b"", self.status), output_bytes=self.sent_bytes)

    def _leave_slot(self, now: float) -> None:
        self._app.gate.leave(self, now)
        self._app.slots.release()

    def _leave_follow_up(self, on_start: Callable[[], None]) -> None:
        assert self._follow_up is not None
        context = self._context.copy()  # a task may still be in the other one
        self._app.follow_ups.add(FollowUp(self._follow_up, context, self.request_id, on_start))
        self._follow_up = None


_ARGUMENTS: dict[str, Callable[[Call], Any]] = {
    "payload": Call.payload,
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


def stack_of(task: asyncio.Task[Any] | None, thread_id: int | None) -> str:
    """Where a task is, or else a thread, as a traceback."""
    if task is not None:
        frames = [(frame, frame.f_lineno) for frame in task.get_stack()]
        return "".join(traceback.StackSummary.extract(iter(frames)).format())
    frame = sys._current_frames().get(thread_id or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _describe(exc: BaseException) -> str:
    if isinstance(exc, NotSerialisable):
        return f"the handler's result cannot be sent as JSON: {exc}"
    if isinstance(exc, (BadBatch, FailedTogether)):
        return str(exc)
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
