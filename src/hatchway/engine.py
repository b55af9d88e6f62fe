"""The engine: the composition root of the control plane, and its life from lock to last process.

    lock the home -> open the store -> adopt replicas and Envoy -> tell the gateway of everything -> reconcile

It ends in one of three ways. `down` ends all processes of the home; `restart` and `handover` end only the engine:
Envoy and the replicas run on and the next engine adopts them, as they do when this one is killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvloop

from hatchway.alerts.clock import SystemClock
from hatchway.alerts.decide import Traffic
from hatchway.alerts.sender import post
from hatchway.alerts.watch import Alerter, Sources
from hatchway.backends.local import LocalBackend
from hatchway.control_api.app import make_app
from hatchway.control_api.listener import Listener
from hatchway.control_api.plane import ShutdownMode
from hatchway.control_api.serving import Beside, serve
from hatchway.controller.changes import Changes
from hatchway.controller.controller import Controller
from hatchway.controller.reconcile import World
from hatchway.errors import Conflict, HatchwayError
from hatchway.gateway.gateway import Gateway
from hatchway.gateway.served import Served
from hatchway.keeper import EXIT_CANNOT_START, EXIT_HANDOVER
from hatchway.metrics.metrics import Metrics
from hatchway.monitoring.terms import Watched
from hatchway.monitoring.watch import Watch
from hatchway.plane import Plane
from hatchway.settings import Settings
from hatchway.store.blobs import Blobs
from hatchway.store.sqlite import Store
from hatchway.store.trees import Trees
from hatchway.store.variables import Variables
from hatchway.trace_settings import TraceSettings

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 30.0  # how long `down` lets requests in flight finish before replicas are killed


class Shutdown:
    """The one way the engine is asked to end; the first request counts."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.mode: ShutdownMode = "down"
        self.python: str | None = None

    def request(self, mode: ShutdownMode, python: str | None = None) -> None:
        if not self._asked.is_set():
            self.mode, self.python = mode, python
            self._asked.set()

    async def wait(self) -> None:
        await self._asked.wait()


class Engine:
    """Everything built from everything else, once."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.shutdown = Shutdown()
        blobs = Blobs(settings.blobs_dir)
        self.backend = LocalBackend(settings, self._on_change)
        self.gateway = Gateway(settings, self._on_change, self._on_wanted, self._on_end)
        self.listener = Listener(settings)
        self._changes = Changes()
        self.watch = Watch(settings, self._watched, self._changes.publish)
        self.controller = Controller(
            World(
                store=store,
                blobs=blobs,
                trees=Trees(settings.revisions_dir, blobs),
                variables=Variables(settings.variables_dir),
                backend=self.backend,
                gateway=self.gateway,
                changes=self._changes,
                monotonic=time.monotonic,
                wall_clock=time.time,
                monitoring=self.watch,
            )
        )
        self.metrics = Metrics(self.gateway, self.backend, store, self.controller, self._drift)
        self._alerts = Alerter(
            Sources(
                settings=lambda: {api: spec.monitoring.alerts for api, spec in self.controller.specs().items()},
                status=self.controller.get,
                traffic=lambda api, window_s: Traffic(*self.metrics.answered(api, window_s)),
                drift=self._drift_verdicts,
            ),
            store,
            post,
            SystemClock(),
            default_webhook=settings.alert_webhook,
            machine=socket.gethostname(),
        )
        self._plane = Plane(
            settings,
            self.controller,
            self.backend,
            self.gateway,
            blobs,
            self.metrics,
            self._alerts,
            self.shutdown.request,
            self.watch,
            self.listener,
        )

    def _on_change(self, api: str) -> None:
        """A replica or the gateway's view of an API changed."""
        self.controller.nudge(api)
        self._changes.publish(api)

    def _watched(self) -> Mapping[str, Watched]:
        return self.controller.watched()

    def _drift(self) -> Mapping[str, Mapping[str, float]]:
        """API -> field -> how far it is from its baseline, in thresholds."""
        return {
            api: {found.field: found.score for found in judged.fields if found.score is not None}
            for api, judged in self.watch.verdicts().items()
        }

    def _drift_verdicts(self, api: str) -> Mapping[str, str] | None:
        judged = self.watch.verdicts().get(api)
        return None if judged is None else {found.field: found.verdict for found in judged.fields}

    def _on_wanted(self, api: str) -> None:
        """Requests wait for an API that has no replica."""
        self.controller.wake(api)

    def _on_end(self, served: Served) -> None:
        """An Envoy has ended."""
        self.metrics.ended(served)

    async def run(self) -> int:
        """Live until asked to end. Returns the exit code for the keeper."""
        self.listener.open()
        await self._adopt()
        tasks = [
            asyncio.create_task(part, name=name)
            for name, part in {
                "backend": self.backend.run(),
                "gateway": self.gateway.run(),
                "controller": self.controller.run(),
                "alerts": self._alerts.run(),
                "metrics": self.metrics.run(),
                "monitoring": self.watch.run(),
                "control API": serve(make_app(self._plane), self.settings.engine_socket, self._beside()),
                "shutdown": self.shutdown.wait(),
            }.items()
        ]
        if self.settings.traces is not None:
            tasks += self._export_traces(self.settings.traces)
        try:
            # A part that ends by itself is a fault: all end with it, and the keeper starts a new engine.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if not any(task.get_name() == "shutdown" for task in done):
                raise RuntimeError(f"the {next(iter(done)).get_name()} ended by itself")
        finally:
            await _cancel(tasks)
        return await self._end()

    def _export_traces(self, traces: TraceSettings) -> list[asyncio.Task[None]]:
        # Imported here: a home without traces needs none of it.
        from hatchway.tracing.collector import make_collector
        from hatchway.tracing.exporter import Exporter
        from hatchway.tracing.senders import make_sender

        for complaint in traces.complaints:
            log.warning("%s", complaint)
        try:
            exporter = Exporter(make_sender(traces))
        except (OSError, ValueError) as exc:
            log.warning("traces are not exported: %s", exc)
            return []
        log.info("traces go to %s", traces.place)
        self._plane.exporter = exporter
        return [
            asyncio.create_task(exporter.run(), name="traces"),
            asyncio.create_task(
                serve(make_collector(exporter, traces), self.settings.traces_socket), name="trace collector"
            ),
        ]

    async def _adopt(self) -> None:
        self.metrics.restore()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.backend.adopt(), name="adopt replicas")
            group.create_task(self.gateway.start(), name="adopt Envoy")
        self.controller.prime()
        log.info("engine %d serves %s at %s", os.getpid(), self.settings.home, self.gateway.url)

    def _beside(self) -> Beside:
        return Beside(self.listener.socket, self.listener.app(make_app(self._plane, accepts_paths=False)))

    async def _end(self) -> int:
        if self.shutdown.mode == "down":
            log.info("going down: letting requests finish, then ending all processes")
            await self.gateway.stop(STOP_TIMEOUT_S)
            await self.backend.stop_all(kill_after_s=STOP_TIMEOUT_S)
            await self.watch.stop()
            return 0
        log.info("going away; replicas and Envoy run on")
        if self.shutdown.mode == "handover" and self.shutdown.python is not None:
            handover = self.settings.home / "handover.json"
            handover.write_text(json.dumps({"python": self.shutdown.python}))
        return EXIT_HANDOVER


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _live(settings: Settings, store: Store) -> int:
    engine = Engine(settings, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.shutdown.request, "down")
    return await engine.run()


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """One engine per home. Raises Conflict."""
    with settings.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Conflict(f"another engine (pid {file.read().strip() or 'unknown'}) runs on {settings.home}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def main() -> int:
    """Run the engine of the home that the environment names. Returns the exit code that the keeper understands."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("httpx", "grpc", "uvicorn.error"):  # httpx would also tell the addresses of webhooks
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment(os.environ)
        settings.prepare()
        with _lock(settings), Store(settings.database) as store:
            return _run(settings, store)
    except (HatchwayError, BaseExceptionGroup) as exc:
        expected = [error for error in _leaves(exc) if isinstance(error, HatchwayError)]
        if not expected:
            raise
        for error in expected:
            log.error("%s%s", error, f" ({error.hint})" if error.hint else "")  # noqa: TRY400 (the message says it all)
        return EXIT_CANNOT_START


def _run(settings: Settings, store: Store) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(settings, store))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())
