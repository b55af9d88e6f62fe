"""One request to a handler: admitted, decoded, called in a thread or in the loop, answered.

A call is an exchange (of `connection.py`), a job (of `gate.py`) and, for sync handlers, a task (of `workers.py`).
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from hatchway.contract import HEADER_ATTEMPT, HEADER_OVERLOADED, HEADER_TIMEOUT
from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.admission import Verdict
from hatchway.replica.connection import ClientGone, Exchange, ExtraHeaders, Sink
from hatchway.replica.gate import Gate
from hatchway.replica.loading import Handler, Method
from hatchway.replica.logs import Log, current_request_id, format_exception
from hatchway.replica.requests import Headers, QueryParams, Request
from hatchway.replica.responses import Answer, Foreign, Pieces, Plain, to_answer, to_piece
from hatchway.replica.workers import Workers

_ATTEMPT = HEADER_ATTEMPT.encode()
_TIMEOUT = HEADER_TIMEOUT.encode()
_OVERLOADED = HEADER_OVERLOADED.encode()
_ENDED = object()
_FAILED = Plain(b"", b"", status=500)


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
    log: Log
    root_path: str
    counts: Counts = field(default_factory=Counts)


class Call(Exchange):
    """See the module's docstring. `thread_id` is the worker that runs it, for the stack of a stuck one."""

    __slots__ = ("_answer", "_app", "_arguments", "_method", "_task", "deadline", "started_at", "thread_id")

    def __init__(
        self, app: App, connection: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(connection, method, target, headers)
        self._app = app
        self._method: Method | None = None
        self._arguments: dict[str, Any] = {}
        self._answer: Answer = _FAILED
        self._task: asyncio.Task[None] | None = None
        self.deadline = math.inf
        self.started_at = 0.0
        self.thread_id: int | None = None

    # --- as an exchange ----------------------------------------------------------------------------------
    def begin(self) -> None:
        methods = self._app.handler.methods
        self._method = methods.get(self.method) or (methods.get("GET") if self.is_head else None)
        if self._method is None:
            self._answer_other_verb()
            return
        now = time.monotonic()
        self.deadline = now + self._patience_s()
        if self.deadline <= now:
            self.time_out(is_running=False)
        elif self._app.gate.enter(self, now) is Verdict.FULL:
            self.refuse()

    def client_left(self) -> None:
        if not self._app.gate.withdraw(self) and self._task is not None:
            self._task.cancel()

    def _answer_other_verb(self) -> None:
        verbs = sorted(
            {*self._app.handler.methods, "OPTIONS"} | ({"HEAD"} if "GET" in self._app.handler.methods else set())
        )
        allow: ExtraHeaders = [(b"allow", ", ".join(verbs).encode())]
        if self.method == "OPTIONS":
            self.answer(204, b"", b"", allow)
        elif self.method == "GET" and "POST" in self._app.handler.methods:
            self.answer_error(405, "method_not_allowed", "send a POST request with the payload as its body", allow)
        else:
            self.answer_error(405, "method_not_allowed", f"{self.method} is not answered here", allow)

    def _patience_s(self) -> float:
        asked = self.fields.get(_TIMEOUT)
        if asked is None:
            return self._app.gate.timeout_s
        try:
            return min(self._app.gate.timeout_s, float(asked))
        except ValueError:
            return self._app.gate.timeout_s

    # --- as a job ----------------------------------------------------------------------------------------
    def run(self) -> None:
        assert self._method is not None
        if self._method.wants_payload and payloads.is_form(self.fields.get(b"content-type")):
            self._start(self._run_with_form())
            return
        try:
            self._collect_arguments(None)
        except RequestError as exc:
            self.answer_error(exc.status, "bad_request", exc.message)
            self._leave()
            return
        self._call()

    def time_out(self, *, is_running: bool) -> None:
        waited = "" if is_running else " while it waited for a free slot"
        self._app.counts.requests += 1
        self._app.counts.errors += 1
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

    # --- calling -----------------------------------------------------------------------------------------
    def _collect_arguments(self, form: Any) -> None:
        assert self._method is not None
        wanted, found = self._method.arguments, self._arguments
        if "payload" in wanted:
            found["payload"] = payloads.parse(self.fields.get(b"content-type"), self.body) if form is None else form
        if len(wanted) > len(found):
            if "query_params" in wanted:
                found["query_params"] = QueryParams(self.target.partition(b"?")[2].decode("latin-1"))
            if "headers" in wanted:
                found["headers"] = Headers(self.raw_headers)
            if "request" in wanted:
                found["request"] = Request(self)
            if "request_id" in wanted:
                found["request_id"] = self.request_id

    async def _run_with_form(self) -> None:
        try:
            self._collect_arguments(await payloads.parse_form(self.raw_headers, self.body))
        except RequestError as exc:
            self.answer_error(exc.status, "bad_request", exc.message)
            self._leave()
            return
        self._task = None
        self._call()

    def _call(self) -> None:
        assert self._method is not None
        if self._method.is_async:
            self._start(self._run_async(self._method))
        else:
            self._app.workers.submit(self)

    def _start(self, coroutine: Any) -> None:
        loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=loop, eager_start=True)
            if not task.done():
                self._task = task
        else:
            self._task = loop.create_task(coroutine)

    async def _run_async(self, method: Method) -> None:
        current_request_id.set(self.request_id)
        try:
            result = method.function(**self._arguments)
            self._answer = to_answer(await result if hasattr(result, "__await__") else result)
        except asyncio.CancelledError:
            if not (self.gone or self.answered):
                self.answer_error(500, "internal_error", "the request was cancelled")
            self._leave()
            return
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the replica lives on)
            self._fail(exc)
        await self._send(self._answer)

    def execute(self) -> None:
        """In a worker thread."""
        assert self._method is not None
        current_request_id.set(self.request_id)
        try:
            self._answer = to_answer(self._method.function(**self._arguments))
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything; the thread lives on)
            self._fail(exc)

    def finish(self) -> None:
        """Back in the loop."""
        if isinstance(self._answer, Plain):
            self._send_plain(self._answer)
            self._leave()
        else:
            self._start(self._send(self._answer))

    # --- answering ---------------------------------------------------------------------------------------
    async def _send(self, answer: Answer) -> None:
        try:
            if isinstance(answer, Plain):
                self._send_plain(answer)
            elif isinstance(answer, Foreign):
                await self._send_foreign(answer.response)
            else:
                await self._send_pieces(answer)
        except (ClientGone, asyncio.CancelledError):
            if self.answered and not self.gone:
                self.abort()
        except BaseException as exc:  # noqa: BLE001 (a generator of the user's may raise anything)
            self._fail(exc)
            if self.answered:
                self.abort()
            else:
                self._send_plain(_FAILED)
        finally:
            self._leave()

    def _send_plain(self, answer: Plain) -> None:
        if answer is _FAILED:
            self.answer_error(500, "internal_error", "internal server error")
        else:
            self.answer(answer.status, answer.content_type, answer.body, answer.extra)

    async def _send_pieces(self, answer: Pieces) -> None:
        pieces = _iterate(answer.generator, self._app.workers)
        try:
            async for item in pieces:
                content_type, piece = to_piece(item)
                if not self.answered:
                    self.start_stream(200, [(b"content-type", content_type)])
                await self.write(piece)
            if not self.answered:
                self.start_stream(200, [(b"content-type", b"text/plain; charset=utf-8")])
            self.end_stream()
        finally:
            await pieces.aclose()

    async def _send_foreign(self, response: Any) -> None:
        body = getattr(response, "body", None)
        if isinstance(body, bytes) and not hasattr(response, "body_iterator") and not hasattr(response, "path"):
            headers = [each for each in response.raw_headers if each[0] != b"content-length"]
            self.answer(response.status_code, b"", body, headers)
            if getattr(response, "background", None) is not None:
                await response.background()
            return
        path, _, query = self.target.partition(b"?")
        scope = {
            "type": "http",
            "method": self.method,
            "path": path.decode("latin-1"),
            "query_string": query,
            "headers": self.raw_headers,
            "root_path": self._app.root_path,
            "extensions": {},
        }
        await response(scope, self._receive, self._forward)

    async def _receive(self) -> dict[str, Any]:
        await asyncio.get_running_loop().create_future()  # a client that leaves cancels the task instead
        raise AssertionError

    async def _forward(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.start_stream(message["status"], list(message["headers"]))
        elif message["type"] == "http.response.body":
            await self.write(message.get("body", b""))
            if not message.get("more_body", False):
                self.end_stream()

    def _fail(self, exc: BaseException) -> None:
        self._answer = _FAILED
        self._app.counts.errors += 1
        self._app.log.say("ERROR", format_exception(type(exc), exc, exc.__traceback__), self.request_id)

    def _leave(self) -> None:
        self._app.counts.requests += 1
        self._task = None
        self._app.gate.leave(self)


async def _iterate(generator: Any, workers: Workers) -> AsyncGenerator[Any, None]:
    """The items of a sync generator, each fetched in a worker thread, or of an async one; closed at the end."""
    if hasattr(generator, "__aiter__"):
        try:
            async for item in generator:
                yield item
        finally:
            await generator.aclose()
        return
    try:
        while (item := await workers.call(lambda: next(generator, _ENDED))) is not _ENDED:
            yield item
    finally:
        await workers.call(generator.close)
