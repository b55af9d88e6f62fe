"""Serves an ASGI application: uvicorn speaks HTTP, our guard admits, times out and names requests.

uvicorn is the user's own where their environment has one, else ours. The application is imported in the event loop,
as uvicorn does it, and its lifespan runs before the replica is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
from collections.abc import Iterator
from typing import Any

import orjson

from hatchway.contract import Launch
from hatchway.errors import LoadError
from hatchway.replica import sockets
from hatchway.replica.admission import Admission
from hatchway.replica.asgi_guard import AsgiApp, Guard, Message
from hatchway.replica.calls import Counts
from hatchway.replica.front import StuckListener
from hatchway.replica.gate import Gate
from hatchway.replica.loading import ASYNC_CONCURRENCY, describe, importing, place_of
from hatchway.replica.logs import Log
from hatchway.replica.records import Records
from hatchway.replica.sampling.sampler import Sampler
from hatchway.replica.tracing import Tracer

PATHS_HOLD_ROOTS = (0, 26)  # the uvicorn from which on `path` begins with `root_path`; Starlette went along


class AsgiFront:
    """An ASGI application behind uvicorn."""

    def __init__(self, launch: Launch, log: Log, on_stuck: StuckListener) -> None:
        self._launch = launch
        self._log = log
        concurrency = launch.max_concurrency or ASYNC_CONCURRENCY
        self.gate = Gate(Admission(concurrency, launch.max_queue_length), math.inf, on_stuck)
        self.counts = Counts()
        self.records = Records()
        self.tracer: Tracer | None = None
        self.title = ""
        self.sampler: Sampler | None = None
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    async def load(self) -> None:
        self._uvicorn = _import_uvicorn()
        app = import_app(self._launch.app or "", self._launch.project_dir)
        self._guard = Guard(
            app, self.gate, self._log, self._launch, path_holds_root=_version_of(self._uvicorn) >= PATHS_HOLD_ROOTS
        )
        self.counts, self.records = self._guard.counts, self._guard.records
        self._guard.tracer = self.tracer
        self._lifespan = Lifespan(app, self._guard.state)
        await self._lifespan.start(self._launch)
        self.title = f"ASGI app {self._launch.app}"

    async def warm_up(self, payload: object) -> None:
        if payload is not None:
            status, body = await _request_once(self._guard, payload)
            if status >= 400:
                answer = body.decode("utf-8", "replace")[:500]
                raise LoadError(
                    f"the warm-up request was answered {status}: {answer}",
                    reason="WarmupFailed",
                    hint="handler.warmup of an application may be {path: /predict, method: POST, payload: ...}",
                )
        self.counts.requests = 0
        self.gate.timeout_s = self._launch.timeout_s if self._launch.timeout_s > 0 else math.inf

    async def open(self) -> None:
        config = self._uvicorn.Config(
            self._guard,
            interface="asgi3",
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            forwarded_allow_ips="*",  # only the gateway reaches the socket
            backlog=sockets.BACKLOG,
            ws_max_size=self._launch.max_body_bytes,
        )
        self._server = _make_server(self._uvicorn, config)
        listening = [sockets.listen(self._launch.data_socket)]
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=listening), name="uvicorn")
        await self._server.is_up.wait()

    async def drain(self) -> None:
        if self._serving is not None:
            self._server.should_exit = True
            await self.gate.wait_idle()
            if self.gate.stuck:
                self._server.force_exit = True
            await self._serving
        await self._lifespan.stop()


class Lifespan:
    """Startup and shutdown of an application; one that knows no lifespan is left alone."""

    def __init__(self, app: AsgiApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self, launch: Launch) -> None:
        """Returns when startup is complete. Raises LoadError (InitFailed)."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="lifespan")
        message = await self._say("lifespan.startup")
        if message["type"] == "lifespan.startup.failed":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({self._task})
            exc = message.get("exception")
            what = f"{place_of(exc, launch.project_dir)}: {describe(exc)}" if exc else f": {message.get('message', '')}"
            raise LoadError(f"application {launch.app}: startup failed{what}", reason="InitFailed") from exc

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._say("lifespan.shutdown")

    async def _say(self, kind: str) -> Message:
        await self._to_app.put({"type": kind})
        return await self._from_app.get()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        failed: list[Message] = []

        async def send(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failed.append(message)  # told once the exception that the application raises next is known
            else:
                await self._from_app.put(message)

        try:
            await self._app(scope, self._to_app.get, send)
        except BaseException as exc:  # noqa: BLE001 (a failed startup, or an application without lifespan)
            failed = [{**message, "exception": exc} for message in failed]
        await self._from_app.put(failed[0] if failed else {"type": "lifespan.ended"})


def import_app(target: str, project_dir: str) -> AsgiApp:
    """The object named by "module:attribute". Raises LoadError."""
    module_name, _, attributes = target.partition(":")
    with importing(module_name, project_dir):
        found: Any = importlib.import_module(module_name)
    for attribute in (attributes or "app").split("."):
        if not hasattr(found, attribute):
            raise LoadError(f"module {module_name} has no {attributes or 'app'}", reason="HandlerNotFound")
        found = getattr(found, attribute)
    if not callable(found):
        raise LoadError(f"{target} is not an ASGI application: it cannot be called", reason="HandlerNotFound")
    return found  # type: ignore[no-any-return]  # a user's object


def _import_uvicorn() -> Any:
    try:
        return importlib.import_module("uvicorn")
    except ImportError as exc:
        raise LoadError(
            f"uvicorn cannot be imported: {exc}", reason="ImportError", hint="add uvicorn to the requirements"
        ) from exc


def _version_of(uvicorn: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in uvicorn.__version__.split(".")[:2])


def _make_server(uvicorn: Any, config: Any) -> Any:
    class Server(uvicorn.Server):  # type: ignore[misc]  # known at run time only
        """Leaves signals to the replica, and tells when it listens."""

        def __init__(self) -> None:
            super().__init__(config)
            self.is_up = asyncio.Event()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        def install_signal_handlers(self) -> None:
            """What older versions call instead."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            self.is_up.set()

    return Server()


async def _request_once(guard: Guard, warmup: object) -> tuple[int, bytes]:
    request = warmup if isinstance(warmup, dict) and "path" in warmup else {"payload": warmup}
    path, _, query = str(request.get("path", "/")).partition("?")
    body = orjson.dumps(request["payload"]) if "payload" in request else b""
    headers = [(b"host", b"warm-up"), (b"content-type", b"application/json"), (b"x-request-id", b"warm-up")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": str(request.get("method", "POST")).upper(),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*headers, (b"content-length", b"%d" % len(body))],
        "client": None,
        "server": None,
    }
    answer: list[Message] = []
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})

    async def send(message: Message) -> None:
        answer.append(message)

    await asyncio.get_running_loop().create_task(guard(scope, inbox.get, send))
    status = next((message["status"] for message in answer if "status" in message), 500)
    return status, b"".join(bytes(message.get("body", b"")) for message in answer)
