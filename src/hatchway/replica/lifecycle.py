"""A replica's life: control socket, handler, warm-up, data socket, ready; then drained, and out with a meaning.

starting -> ready -> draining -> exit 0            EXIT_LOAD_FAILED, EXIT_WARMUP_FAILED, EXIT_STUCK
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import orjson
import uvloop

from hatchway.contract import (
    EXIT_LOAD_FAILED,
    EXIT_OK,
    EXIT_STUCK,
    EXIT_WARMUP_FAILED,
    HEADER_REVISION,
    LastWords,
    Launch,
    ReplicaStats,
)
from hatchway.errors import LoadError
from hatchway.replica import asgi, loading
from hatchway.replica.admission import Admission
from hatchway.replica.calls import App, Call, Counts
from hatchway.replica.connection import Exchange, Listener, Sink, bind
from hatchway.replica.control import control_exchanges
from hatchway.replica.gate import Gate, Job
from hatchway.replica.logs import Log, format_exception, install, leave_logging_to_the_user
from hatchway.replica.workers import Workers

BACKLOG = 2048
ASYNC_CONCURRENCY = 64
CONTROL_BODY_BYTES = 4096
IDLE_POLL_S = 0.01


class Life:
    """The state of the replica, and who waits for it."""

    def __init__(self) -> None:
        self.state = "starting"
        self.counts = Counts()
        self.gate: Gate | None = None
        self.handler = ""
        self.stop = asyncio.Event()
        self.exit_code = EXIT_OK
        self._changed = asyncio.Event()

    def enter(self, state: str) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def drain(self) -> None:
        self.enter("draining")

    async def wait_ready(self, wait_s: float) -> str:
        """The state, as soon as it is not "starting" any more or after `wait_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self.state == "starting":
                    await self._changed.wait()
        return self.state

    def stats(self) -> ReplicaStats:
        admission = self.gate.admission if self.gate else Admission[Job](0, 0)
        return ReplicaStats(
            state=self.state,
            in_flight=admission.in_flight,
            queued=admission.queued,
            requests=self.counts.requests,
            errors=self.counts.errors,
            refused=self.counts.refused,
            max_concurrency=admission.max_concurrency,
            max_queue_length=admission.max_queue_length,
            handler=self.handler,
        )


def run(launch: Launch) -> int:
    """Live until told to end. Returns the exit code."""
    log = install(launch.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_live(launch, log))
    for path in (launch.data_socket, launch.control_socket):
        Path(path).unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of a stuck handler, or of the user's libraries, must not keep the process


async def _live(launch: Launch, log: Log) -> int:
    life = Life()
    _obey_signals(life)
    control = Listener(control_exchanges(life), max_body_bytes=CONTROL_BODY_BYTES)
    await _listen(control, launch.control_socket)
    workers = Workers(asyncio.get_running_loop())
    try:
        handler = await workers.call(lambda: loading.load(launch))
    except LoadError as exc:
        return _give_up(launch, log, exc, EXIT_LOAD_FAILED)
    leave_logging_to_the_user()
    life.handler = handler.description
    concurrency = launch.max_concurrency or (ASYNC_CONCURRENCY if handler.is_async else 1)

    def stuck(job: Job) -> None:
        _tell_stuck(launch, log, job)
        life.exit_code = EXIT_STUCK
        life.stop.set()

    gate = life.gate = Gate(Admission(concurrency, launch.max_queue_length), launch.timeout_s, stuck)
    app = App(handler, gate, workers, log, launch.endpoint, life.counts)
    serve = asgi.serve if handler.app is not None else _serve
    try:
        return await serve(launch, life, app)
    except LoadError as exc:
        return _give_up(launch, log, exc, EXIT_WARMUP_FAILED if exc.reason == "WarmupFailed" else EXIT_LOAD_FAILED)


async def _serve(launch: Launch, life: Life, app: App) -> int:
    """Class and function handlers, on our own server."""
    if launch.warmup is not None:
        await _warm_up(app, launch.warmup)

    def make_call(connection: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Exchange:
        return Call(app, connection, method, target, headers)

    common = f"{HEADER_REVISION}: {launch.revision}\r\n".encode()
    data = Listener(make_call, max_body_bytes=launch.max_body_bytes, common_headers=common)
    server = await _listen(data, launch.data_socket)
    life.enter("ready")
    await life.stop.wait()
    life.enter("draining")
    server.close()
    data.close_idle()
    while not _is_drained(app, data):  # noqa: ASYNC110 (rare and short; an event would cost on every request)
        await asyncio.sleep(IDLE_POLL_S)
    return life.exit_code


def _is_drained(app: App, data: Listener) -> bool:
    return app.gate.is_idle and (bool(app.gate.stuck) or all(connection.is_idle for connection in data.connections))


class _Kept(Sink):
    """Keeps the answer of the warm-up prediction."""

    def __init__(self) -> None:
        self.data = b""
        self.done = asyncio.get_running_loop().create_future()

    def send(self, data: bytes) -> None:
        self.data += data

    def exchange_done(self, exchange: Exchange) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def cut(self) -> None:
        self.exchange_done(Exchange(self, "GET", b"/", []))


async def _warm_up(app: App, payload: Any) -> None:
    """One real prediction. Raises LoadError."""
    kept = _Kept()
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"warmup")]
    call = Call(app, kept, "POST", b"/", headers)
    call.body = orjson.dumps(payload)
    call.begin()
    await kept.done
    status = int(kept.data.split(b" ", 2)[1]) if kept.data else 500
    if not 200 <= status < 300:
        raise LoadError(
            f"the prediction with handler.warmup was answered {status}; the log has the traceback",
            reason="WarmupFailed",
        )


async def _listen(listener: Listener, path: str) -> asyncio.Server:
    return await asyncio.get_running_loop().create_unix_server(listener.connect, sock=bind(path), backlog=BACKLOG)


def _obey_signals(life: Life) -> None:
    loop = asyncio.get_running_loop()

    def terminate() -> None:
        if life.stop.is_set():
            os._exit(EXIT_OK)  # told twice: at once
        life.stop.set()
        if life.state == "starting":
            os._exit(EXIT_OK)  # nobody was served yet

    loop.add_signal_handler(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _give_up(launch: Launch, log: Log, exc: LoadError, code: int) -> int:
    cause = exc.__cause__
    trace = "" if cause is None else format_exception(type(cause), cause, cause.__traceback__)
    log.say("ERROR", f"{exc.reason}: {exc.message}" + (f"\n{trace}" if trace else ""))
    Path(launch.last_words_path).write_text(LastWords(exc.reason, exc.message, trace).to_json())
    return code


def _tell_stuck(launch: Launch, log: Log, job: Job) -> None:
    """Where the handler hangs, from the stack of its thread."""
    frame = sys._current_frames().get(getattr(job, "thread_id", None) or 0)
    stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
    message = f"a handler ran past handler.timeout ({launch.timeout_s:g}s) and could not be interrupted"
    log.say("ERROR", f"{message}\n{stack}", getattr(job, "request_id", None))
    Path(launch.last_words_path).write_text(LastWords("Stuck", message, stack).to_json())
