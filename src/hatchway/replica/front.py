"""What a replica serves, seen from its life: load it, warm it up, open it, drain it.

`HandlerFront` serves classes and functions; asgi.py has its sibling for ASGI applications.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

import orjson

from hatchway.contract import HEADER_REVISION, Launch
from hatchway.errors import LoadError
from hatchway.replica import sockets
from hatchway.replica.admission import Admission
from hatchway.replica.batches import Batch
from hatchway.replica.batching import Batching
from hatchway.replica.calls import App, BatchMetrics, Call, Counts
from hatchway.replica.connection import Exchange, Listener, Sink
from hatchway.replica.documentation import Documentation, Leaf
from hatchway.replica.follow_ups import FollowUps
from hatchway.replica.gate import Gate, Job, LoopSlots
from hatchway.replica.loading import Handler, describe, find, place_of
from hatchway.replica.logs import Log
from hatchway.replica.metrics import Metrics, MetricsClient
from hatchway.replica.records import Records
from hatchway.replica.sampling.sampler import Sampler
from hatchway.replica.tracing import Tracer
from hatchway.replica.workers import Task, Workers

UNFINISHED_REQUEST_GRACE_S = 5.0  # for clients that are sending a request when the replica is told to go
ACCEPT_GRACE_S = 0.05  # for connections that were made just before the socket's name was removed


class StuckListener(Protocol):
    def __call__(self, job: Job) -> None: ...


class Front(Protocol):
    """One way of answering requests."""

    gate: Gate
    counts: Counts
    records: Records
    tracer: Tracer | None  # set before `load`
    title: str  # for people

    @property
    def sampler(self) -> Sampler | None:
        """What is told of its requests; None where they cannot be looked at."""
        ...

    async def load(self) -> None:
        """Import and build. Raises LoadError."""
        ...

    async def warm_up(self, payload: object) -> None:
        """One real prediction. Raises LoadError (WarmupFailed)."""
        ...

    async def open(self) -> None:
        """Listen on the data socket."""
        ...

    async def drain(self) -> None:
        """Take no new connections; returns when everything is answered."""
        ...


class HandlerFront:
    """A class or a function behind our own HTTP server."""

    def __init__(
        self,
        launch: Launch,
        log: Log,
        metrics: Metrics,
        on_stuck: StuckListener,
        prepare_thread: Callable[[], None] | None,
    ) -> None:
        self._launch = launch
        self._log = log
        self._metrics = metrics
        self._prepare_thread = prepare_thread
        self._workers = Workers(asyncio.get_running_loop(), 1, prepare_thread)
        self._server: asyncio.AbstractServer | None = None
        # Without a limit until the warm-up is over, which may have to compile a model.
        self.gate = Gate(Admission(launch.max_concurrency or 1, launch.max_queue_length), math.inf, on_stuck)
        self.counts = Counts()
        self.records = Records()
        self.sampler = Sampler(is_on=launch.samples)
        self.tracer: Tracer | None = None
        self.title = ""

    async def load(self) -> None:
        # In a thread, so that the control socket answers meanwhile. An async handler's __init__ runs in the loop,
        # where it can make sessions and locks.
        metrics_client = MetricsClient(self._metrics, partial(self._log.say, "WARNING"))
        candidate = await self._workers.call(lambda: find(self._launch, metrics_client))
        handler = candidate.build() if candidate.is_async else await self._workers.call(candidate.build)
        self.title = handler.description
        if handler.warning:
            self._log.say("WARNING", handler.warning)
        self._documentation = Documentation(self._launch, handler)
        self._open_gate(handler)

    def _open_gate(self, handler: Handler) -> None:
        slots = handler.max_concurrency
        self.gate.batching = handler.batching or Batching()
        self.gate.admission.max_concurrency = slots * self.gate.batching.max_size
        follow_ups = FollowUps(Workers(self._workers.loop, slots, self._prepare_thread), self._log, slots)
        in_loop = LoopSlots(self.gate, slots, self._run)
        root_path = self._launch.endpoint.rstrip("/")
        measured = BatchMetrics(self._metrics) if handler.batching else None
        self._app = App(
            handler,
            self.gate,
            in_loop,
            self._workers,
            follow_ups,
            self._log,
            root_path,
            measured,
            self.sampler,
            self.counts,
            records=self.records,
            tracer=self.tracer,
        )
        if all(method.is_async for method in handler.methods.values()):
            self.gate.runner = in_loop
        else:
            self._workers.max_threads = slots
            self._workers.source = self._next_task
            self.gate.runner = self._workers

    def _next_task(self) -> Task | None:
        jobs = cast("list[Call]", self.gate.take())
        if not jobs:
            return None
        return self._batch(jobs) if self._app.handler.batching else jobs[0]

    def _run(self, jobs: list[Job]) -> None:
        calls = cast("list[Call]", jobs)
        (self._batch(calls) if self._app.handler.batching else calls[0]).run()

    def _batch(self, calls: list[Call]) -> Batch:
        (method,) = self._app.handler.methods.values()
        return Batch(self._app, method, calls)

    async def warm_up(self, payload: object) -> None:
        if payload is not None:
            await self._predict_once(payload)
        self.counts.requests = 0
        self.sampler.open()
        self.gate.timeout_s = self._launch.timeout_s if self._launch.timeout_s > 0 else math.inf

    async def open(self) -> None:
        revision = f"{HEADER_REVISION}: {self._launch.revision}\r\n".encode()
        limit = self._launch.max_body_bytes
        self._listener = Listener(self._receive, max_body_bytes=limit, common_headers=revision)
        self._server = await sockets.serve(self._listener.connect, self._launch.data_socket)

    async def drain(self) -> None:
        if self._server is None:
            return
        self._listener.close_idle()
        await asyncio.sleep(ACCEPT_GRACE_S)  # the backlog has no event
        self._server.close()
        self._listener.close_idle()
        await self.gate.wait_idle()
        await self._listener.wait_empty(UNFINISHED_REQUEST_GRACE_S)
        await self.gate.wait_idle()
        await self._app.follow_ups.wait_idle()
        await self.sampler.flush()

    def _receive(self, sink: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Exchange:
        if self._documentation.answers(method, target):
            return Leaf(self._documentation, sink, method, target, headers)
        return Call(self._app, sink, method, target, headers)

    async def _predict_once(self, payload: object) -> None:
        verbs = self._app.handler.methods
        sink = _Kept()
        headers = [(b"content-type", b"application/json"), (b"x-request-id", b"warm-up")]
        verb = "POST" if "POST" in verbs else next(iter(verbs))
        prediction = Call(self._app, sink, verb, b"/", headers)
        prediction.body = orjson.dumps(payload)
        prediction.begin()
        await sink.done.wait()
        await self.gate.wait_idle()
        failure = prediction.failure
        if failure is not None:
            what = f"{describe(failure)}{place_of(failure, self._launch.project_dir)}"
            raise LoadError(f"the warm-up prediction failed: {what}", reason="WarmupFailed") from failure
        if sink.status >= 400:
            answer = sink.received.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")[:500]
            raise LoadError(f"the warm-up prediction was answered {sink.status}: {answer}", reason="WarmupFailed")


class _Kept(Sink):
    """Keeps the answer of a warm-up."""

    def __init__(self) -> None:
        self.received = b""
        self.done = asyncio.Event()

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1]) if self.received else 500

    def send(self, data: bytes) -> None:
        self.received += data[:10_000]

    def exchange_done(self, exchange: Exchange) -> None:
        self.done.set()

    def cut(self) -> None:
        self.done.set()
