"""The control socket: what the engine asks a replica and tells it to do.

Handled on the same loop as the data path but on a socket of its own, so that neither a full queue nor a full backlog
of requests stands in its way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from urllib.parse import parse_qs

from hatchway.contract import (
    CONTROL_DRAIN,
    CONTROL_LIVE,
    CONTROL_METRICS,
    CONTROL_MODULES,
    CONTROL_READY,
    CONTROL_REQUESTS,
    CONTROL_RESUME,
    CONTROL_SAMPLES,
    CONTROL_STATS,
    FoundRequests,
    ReplicaStats,
    SampleTerms,
)
from hatchway.replica import modules
from hatchway.replica.connection import ClientGone, Exchange, Sink
from hatchway.replica.metrics import Metrics
from hatchway.replica.sampling.sampler import Sampler, read_terms

LONGEST_WAIT_S = 300.0


class State:
    """starting, ready or draining, and a way to wait for the next change.

    A drain can be taken back until the replica is told to stop.
    """

    def __init__(self) -> None:
        self._progress = "starting"
        self._is_draining = False
        self._is_stopping = False
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        return "draining" if self._is_draining or self._is_stopping else self._progress

    def become_ready(self) -> None:
        self._progress = "ready"
        self._tell()

    def drain(self) -> None:
        self._is_draining = True
        self._tell()

    def resume(self) -> None:
        self._is_draining = False
        self._tell()

    def stop(self) -> None:
        self._is_stopping = True
        self._tell()

    async def wait_started(self, wait_s: float) -> None:
        """Returns when the state is not "starting" any more, or after `wait_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self.name == "starting":
                    await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Control:
    """Makes the exchanges of the control socket. `sampler`: of a replica whose requests can be looked at."""

    def __init__(
        self,
        state: State,
        stats: Callable[[], ReplicaStats],
        metrics: Metrics,
        find_request: Callable[[str], FoundRequests],
        sampler: Sampler | None,
    ) -> None:
        self.state = state
        self.stats = stats
        self.find_request = find_request
        self.metrics = metrics
        self.sampler = sampler
        self.tasks: set[asyncio.Task[None]] = set()

    def receive(self, sink: Sink, method: str, target: bytes, raw_headers: list[tuple[bytes, bytes]]) -> Exchange:
        return _Question(self, sink, method, target, raw_headers)


class _Question(Exchange):
    __slots__ = ("_control", "_task")

    def __init__(
        self, control: Control, sink: Sink, method: str, target: bytes, raw_headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(sink, method, target, raw_headers)
        self._control = control
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        path, _, query = self.target.decode("latin-1").partition("?")
        expected = "POST" if path in (CONTROL_DRAIN, CONTROL_RESUME) else "GET"
        answers: dict[str, Callable[[], None]] = {
            CONTROL_READY: lambda: self._ready(query),
            CONTROL_LIVE: lambda: self.answer_json(200, {"live": True}),
            CONTROL_STATS: self._stats,
            CONTROL_METRICS: self._metrics,
            CONTROL_REQUESTS: lambda: self._requests(query),
            CONTROL_MODULES: lambda: self.answer_json(200, {"modules": modules.imported()}),
            CONTROL_SAMPLES: lambda: self._samples(query),
            CONTROL_DRAIN: lambda: self._change(self._control.state.drain),
            CONTROL_RESUME: lambda: self._change(self._control.state.resume),
        }
        if path not in answers:
            self.answer_error(404, "not_found", f"no control path {path}")
        elif self.method not in (expected, "HEAD" if expected == "GET" else expected):
            self.answer_error(405, "method_not_allowed", f"{path} answers {expected}", [(b"allow", expected.encode())])
        else:
            answers[path]()

    def client_left(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ready(self, query: str) -> None:
        wait_s = _wait_of(query)
        if wait_s > 0 and self._control.state.name == "starting":
            self._start(self._wait_ready(wait_s), "control-ready")
        else:
            self._say_ready()

    async def _wait_ready(self, wait_s: float) -> None:
        await self._control.state.wait_started(wait_s)
        self._say_ready()

    def _say_ready(self) -> None:
        state = self._control.state.name
        self.answer_json(200 if state == "ready" else 503, {"state": state})

    def _samples(self, query: str) -> None:
        sampler = self._control.sampler
        terms = read_terms(parse_qs(query).get("terms", ["{}"])[0])
        if sampler is None:
            self.answer_error(404, "not_found", "nothing is sampled here")
        elif terms is None:
            self.answer_error(400, "bad_request", "the terms cannot be read")
        else:
            self._start(self._send_samples(sampler, terms), "control-samples")

    async def _send_samples(self, sampler: Sampler, terms: SampleTerms) -> None:
        with contextlib.suppress(ClientGone, asyncio.CancelledError):
            await sampler.send(self, terms)

    def _start(self, answering: Coroutine[None, None, None], name: str) -> None:
        self._task = asyncio.get_running_loop().create_task(answering, name=name)
        self._control.tasks.add(self._task)
        self._task.add_done_callback(self._control.tasks.discard)

    def _stats(self) -> None:
        self.answer(200, b"application/json", self._control.stats().to_json().encode())

    def _requests(self, query: str) -> None:
        found = self._control.find_request(parse_qs(query).get("id", [""])[0])
        self.answer(200, b"application/json", found.to_json().encode())

    def _metrics(self) -> None:
        self.answer_json(200, {"metrics": self._control.metrics.read()})

    def _change(self, change: Callable[[], None]) -> None:
        change()
        self.answer_json(200, {"state": self._control.state.name})


def _wait_of(query: str) -> float:
    try:
        return min(LONGEST_WAIT_S, float(parse_qs(query).get("wait_s", ["0"])[0]))
    except ValueError:
        return 0.0
