"""What the control API may ask of the engine, put together from its parts. Decides nothing itself."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hatchway import __version__
from hatchway.alerts.watch import Alerter
from hatchway.backends import Backend
from hatchway.control_api.listener import Listener
from hatchway.control_api.plane import ShutdownMode
from hatchway.control_api.trials import Trials
from hatchway.controller.controller import Controller
from hatchway.gateway.gateway import Gateway
from hatchway.gateway.journal import Entry
from hatchway.metrics.metrics import Metrics
from hatchway.monitoring.watch import Watch
from hatchway.settings import Settings
from hatchway.spec.alerts import AlertStatus, AlertTest
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.logs import LogQuery
from hatchway.spec.monitoring import AcceptedChange, MonitoringReport
from hatchway.spec.requests import AcceptRequest, ScaleRequest
from hatchway.spec.status import (
    Address,
    ApiStatus,
    DeployResult,
    EngineStatus,
    GatewayStatus,
    HistoryEntry,
    LogLine,
    ScalingStep,
    Status,
    TracesStatus,
)
from hatchway.spec.story import RequestStory
from hatchway.spec.summary import Summaries
from hatchway.spec.timeline import Sparkline, Timeline
from hatchway.spec.trial import TrialAnswer, TrialRequest
from hatchway.store.blobs import Blobs, BlobStore
from hatchway.stories import MAX_LINES, apis_of, tell

if TYPE_CHECKING:
    from hatchway.tracing.exporter import Exporter


class Sightings(Protocol):
    """What gateways noted of requests."""

    async def find_request(self, request_id: str) -> Sequence[Entry]: ...


class Reads:
    """What is the same on one machine and in a cluster: reading, trying out, and files by their hash."""

    def __init__(self, controller: Controller, backend: Backend, gateway: Sightings, blobs: BlobStore) -> None:
        self._controller = controller
        self._backend = backend
        self._sightings = gateway
        self._blobs = blobs
        self._trials = Trials()

    def list(self) -> list[ApiStatus]:
        return [*self._controller.list()]

    def get(self, name: str) -> ApiStatus:
        return self._controller.get(name)

    def history(self, name: str) -> Sequence[HistoryEntry]:
        return self._controller.history(name)

    def scaling(self, name: str) -> Sequence[ScalingStep]:
        return self._controller.scaling(name)

    def watch(self, name: str) -> AsyncIterator[ApiStatus]:
        return self._controller.watch(name)

    def watch_all(self) -> AsyncIterator[Summaries]:
        return self._controller.watch_all()

    async def try_out(self, name: str, trial: TrialRequest) -> TrialAnswer:
        return await self._trials.send(self._controller.get(name).endpoint, trial)

    def logs(self, name: str, query: LogQuery, *, follow: bool) -> AsyncIterator[LogLine]:
        self._controller.get(name)
        return self._backend.logs(name, query, follow=follow)

    async def request(self, request_id: str) -> RequestStory:
        sightings, entries = await asyncio.gather(
            self._backend.find_request(request_id), self._sightings.find_request(request_id)
        )
        apis = apis_of(sightings, entries) or {status.name for status in self._controller.list()}
        lines: list[LogLine] = []
        for api in sorted(apis):
            async for line in self._backend.logs(api, LogQuery(request_id=request_id)):
                lines.append(line)
                if len(lines) >= MAX_LINES:
                    break
        return tell(request_id, sightings, entries, lines)

    async def missing_blobs(self, hashes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(await asyncio.to_thread(self._blobs.missing, hashes))

    async def add_blob(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        await self._blobs.add_async_stream(sha256, chunks)


class Plane(Reads):
    """Implements `control_api.plane.ControlPlane`."""

    def __init__(  # noqa: PLR0913 (the parts it is put together from)
        self,
        settings: Settings,
        controller: Controller,
        backend: Backend,
        gateway: Gateway,
        blobs: Blobs,
        metrics: Metrics,
        alerts: Alerter,
        request_shutdown: Callable[[ShutdownMode, str | None], None],
        predictions: Watch,
        listener: Listener,
    ) -> None:
        super().__init__(controller, backend, gateway, blobs)
        self._settings = settings
        self._gateway = gateway
        self._own_blobs = blobs
        self._alerts = alerts
        self._metrics = metrics
        self._request_shutdown = request_shutdown
        self._predictions = predictions
        self._listener = listener
        self.exporter: Exporter | None = None  # of traces, if there is one

    async def deploy(self, request: DeployRequest, by: str) -> list[DeployResult]:
        return list(await self._controller.deploy(request, by))

    def alerts(self) -> Sequence[AlertStatus]:
        return self._alerts.list()

    async def test_alert(self, name: str) -> AlertTest:
        return await self._alerts.test(name)

    def timeline(self, name: str, window_s: float) -> Timeline:
        self._controller.get(name)
        return self._metrics.timeline(name, window_s)

    def timelines(self) -> Mapping[str, Sparkline]:
        return self._metrics.sparklines()

    async def metrics(self) -> str:
        return await self._metrics.text()

    async def start(self, name: str, by: str) -> ApiStatus:
        return await self._controller.start(name, by)

    async def stop(self, name: str, by: str) -> ApiStatus:
        return await self._controller.stop(name, by)

    async def restart(self, name: str, by: str) -> DeployResult:
        return await self._controller.restart(name, by)

    async def rollback(self, name: str, to: str | None, by: str) -> DeployResult:
        return await self._controller.rollback(name, to, by)

    async def scale(self, name: str, request: ScaleRequest, by: str) -> ApiStatus:
        return await self._controller.scale(name, request, by)

    async def delete(self, name: str) -> ApiStatus:
        return await self._controller.delete(name)

    async def status(self) -> Status:
        home = self._settings.home
        return Status(
            engine=EngineStatus(pid=os.getpid(), version=__version__),
            gateway=GatewayStatus(pid=self._gateway.pid, port=self._gateway.port, url=self._gateway.url),
            home=str(home),
            apis=dict(Counter(status.status for status in self._controller.list())),
            disk_bytes=await asyncio.to_thread(disk_bytes, home),
            dashboard=Address(url=self._listener.url),
            metrics=Address(url=f"{self._listener.url}/metrics"),
            traces=self._traces(),
        )

    def _traces(self) -> TracesStatus | None:
        settings, exporter = self._settings.traces, self.exporter
        if settings is None or exporter is None:
            return None
        return TracesStatus(endpoint=settings.place, spans_sent=exporter.sent, spans_dropped=exporter.dropped)

    def dashboard_link(self) -> str:
        return self._listener.link()

    async def monitoring(self, name: str, window_s: float) -> MonitoringReport:
        self._controller.get(name)
        return await self._predictions.report(name, window_s)

    async def accept(self, name: str, request: AcceptRequest, by: str) -> AcceptedChange:
        self._controller.get(name)
        if request.undo:
            return await self._predictions.undo_accept(name, by)
        return await self._predictions.accept(name, request.fields, by)

    async def prune(self) -> dict[str, int]:
        return dict(await self._controller.prune())

    async def add_blobs_from_paths(self, paths: Mapping[str, Path]) -> None:
        def add() -> None:
            for sha256, path in paths.items():
                self._own_blobs.add_path(sha256, path)

        await asyncio.to_thread(add)

    def request_shutdown(self, mode: ShutdownMode, python: str | None) -> None:
        self._request_shutdown(mode, python)


def disk_bytes(home: Path) -> dict[str, int]:
    """What each folder of a home takes on the disk; nothing for a home that was removed.

    A file with several links counts once, in the first of them.
    """
    seen: set[tuple[int, int]] = set()
    return {path.name: _disk_bytes(path, seen) for path in sorted(home.glob("*")) if path.is_dir()}


def _disk_bytes(folder: Path, seen: set[tuple[int, int]]) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(root, name))
            except FileNotFoundError:  # gone while we looked
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total
