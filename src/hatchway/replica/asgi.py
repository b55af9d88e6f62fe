"""ASGI applications, served by uvicorn inside the replica, behind the same admission, deadlines and drain as handlers.

uvicorn is the user's own, or else the one in `launch.asgi_packages`. Ready comes after the lifespan's startup.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import orjson

from hatchway.contract import (
    HEADER_ATTEMPT,
    HEADER_OVERLOADED,
    HEADER_REQUEST_ID,
    HEADER_REVISION,
    HEADER_TIMEOUT,
    Launch,
)
from hatchway.errors import LoadError
from hatchway.replica.admission import Verdict
from hatchway.replica.connection import bind, request_id_of
from hatchway.replica.logs import current_request_id, format_exception

if TYPE_CHECKING:
    from hatchway.replica.calls import App
    from hatchway.replica.lifecycle import Life

IDLE_POLL_S = 0.01
BACKLOG = 2048


async def serve(launch: Launch, life: Life, app: App) -> int:
    """Raises LoadError when the application does not start, or its warm-up fails."""
    uvicorn = _import_uvicorn()
    guarded = Guard(launch, app)
    config = uvicorn.Config(
        guarded,
        lifespan="auto",
        log_config=None,
        access_log=False,
        loop="none",
        proxy_headers=True,
        forwarded_allow_ips="*",
        root_path=launch.endpoint,
        server_header=False,
        date_header=False,
        timeout_keep_alive=3600,
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext
    bound = bind(launch.data_socket)
    bound.listen(BACKLOG)
    serving = asyncio.create_task(server.serve(sockets=[bound]), name="uvicorn")
    while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn tells nobody when it has started)
        await asyncio.sleep(IDLE_POLL_S)
    if not server.started:
        raise LoadError(f"ASGI app {launch.app}: its lifespan startup failed; the log says why", reason="InitFailed")
    if launch.warmup is not None:
        await _warm_up(guarded, launch)
    life.enter("ready")
    await life.stop.wait()
    life.enter("draining")
    server.should_exit = True
    if life.exit_code == 0:
        await serving
    return life.exit_code


def _import_uvicorn() -> Any:
    try:
        return importlib.import_module("uvicorn")
    except ImportError as exc:
        raise LoadError("handler.app needs uvicorn; add it to the dependencies", reason="ImportError") from exc


class Guard:
    """The outermost middleware: slots, queue, deadline, request id and revision."""

    def __init__(self, launch: Launch, app: App) -> None:
        self._launch = launch
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app.handler.app(scope, receive, send)
            return
        visit = Visit(self, dict(scope["headers"]), send)
        now = time.monotonic()
        visit.deadline = now + visit.patience_s(self._app.gate.timeout_s)
        if self._app.gate.enter(visit, now) is Verdict.FULL:
            await visit.refuse_now()
            return
        await self._pass(visit, scope, receive)

    async def _pass(self, visit: Visit, scope: Any, receive: Any) -> None:
        token = current_request_id.set(visit.request_id)
        try:
            if await visit.turn:
                visit.task = asyncio.current_task()
                await self._app.handler.app(scope, receive, visit.send)
        except asyncio.CancelledError:
            if not visit.timed_out:
                raise
        except BaseException as exc:  # noqa: BLE001 (the user's code may raise anything)
            self._app.counts.errors += 1
            self._app.log.say("ERROR", format_exception(type(exc), exc, exc.__traceback__), visit.request_id)
            if not visit.answered:
                await visit.send_error(500, "internal_error", "internal server error")
        finally:
            current_request_id.reset(token)
            self._app.counts.requests += 1
            if visit.entered:
                self._app.gate.leave(visit)
            else:
                self._app.gate.withdraw(visit)
        if visit.outcome is not None and not visit.answered:
            await visit.send_error(*visit.outcome)

    @property
    def revision(self) -> str:
        return self._launch.revision

    def retry_after_s(self) -> int:
        self._app.counts.refused += 1
        return self._app.gate.admission.retry_after_s(time.monotonic())


class Visit:
    """One request as a job of the gate."""

    def __init__(self, guard: Guard, headers: dict[bytes, bytes], send: Any) -> None:
        self._guard = guard
        self._headers = headers
        self._send = send
        self.request_id = request_id_of(headers.get(HEADER_REQUEST_ID.encode()))
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.deadline = math.inf
        self.started_at = 0.0
        self.answered = False
        self.entered = False
        self.timed_out = False
        self.outcome: tuple[int, str, str] | None = None

    def patience_s(self, timeout_s: float) -> float:
        try:
            return min(timeout_s, float(self._headers.get(HEADER_TIMEOUT.encode(), b"inf")))
        except ValueError:
            return timeout_s

    def run(self) -> None:
        self.entered = True
        if not self.turn.done():
            self.turn.set_result(True)

    def time_out(self, *, is_running: bool) -> None:
        self.timed_out = True
        self.outcome = (504, "timeout", "the request timed out")
        if is_running and self.task is not None:
            self.task.cancel()
        elif not self.turn.done():
            self.turn.set_result(False)

    def refuse(self) -> None:
        self.outcome = (503, "overloaded", "the API is busy; try again later")
        if not self.turn.done():
            self.turn.set_result(False)

    async def refuse_now(self) -> None:
        extra = [(b"retry-after", str(self._guard.retry_after_s()).encode())]
        if self._headers.get(HEADER_ATTEMPT.encode(), b"1") == b"1":
            extra.append((HEADER_OVERLOADED.encode(), b"1"))
        await self.send_error(503, "overloaded", "the API is busy; try again later", extra)

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            if self.answered:
                return
            self.answered = True
            message = {**message, "headers": [*message.get("headers", ()), *self._identity()]}
        await self._send(message)

    async def send_error(
        self, status: int, kind: str, message: str, extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        self.answered = True
        body = orjson.dumps({"error": {"kind": kind, "message": message, "request_id": self.request_id}})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._identity(),
            *(extra or ()),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _identity(self) -> list[tuple[bytes, bytes]]:
        return [
            (HEADER_REQUEST_ID.encode(), self.request_id.encode()),
            (HEADER_REVISION.encode(), self._guard.revision.encode()),
        ]


async def _warm_up(guard: Guard, launch: Launch) -> None:
    """A real request through the application: POST / with handler.warmup as JSON. Raises LoadError."""
    body = orjson.dumps(launch.warmup)
    statuses: list[int] = []
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return pending.pop() if pending else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": launch.endpoint + "/",
        "raw_path": (launch.endpoint + "/").encode(),
        "query_string": b"",
        "root_path": launch.endpoint,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        "client": None,
        "server": None,
    }
    await guard(scope, receive, send)
    if not statuses or statuses[0] >= 500:
        raise LoadError(f"the request with handler.warmup was answered {statuses[:1]}", reason="WarmupFailed")
