"""A control plane that keeps its APIs in memory and real blobs in a folder, and a real server in front of it."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from hatchway import __version__
from hatchway.control_api.app import ShutdownMode, make_app, serve
from hatchway.errors import Conflict, MonitoringError, NotFound, UsageError
from hatchway.spec.alerts import AlertStatus, AlertTest
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.logs import LogQuery
from hatchway.spec.monitoring import AcceptedChange, BaselineReport, MonitoringReport
from hatchway.spec.requests import AcceptRequest, ScaleRequest
from hatchway.spec.status import (
    Address,
    ApiStatus,
    Condition,
    DeployAction,
    DeployResult,
    EngineStatus,
    GatewayStatus,
    HistoryEntry,
    LogLine,
    ReplicaCounts,
    RevisionStatus,
    ScaledStatus,
    ScalingStep,
    Status,
)
from hatchway.spec.story import RequestStory
from hatchway.spec.summary import ApiSummary, Summaries
from hatchway.spec.timeline import Sparkline, Timeline
from hatchway.spec.trial import TrialAnswer, TrialRequest
from hatchway.store.blobs import Blobs

NOON = "2026-01-01T12:00:00.000Z"


def an_api(name: str = "iris", **fields: Any) -> ApiStatus:
    defaults: dict[str, Any] = {
        "name": name,
        "kind": "RealtimeAPI",
        "status": "live",
        "reason": "",
        "revision": "r1",
        "endpoint": f"http://127.0.0.1:8484/{name}",
        "replicas": ReplicaCounts(desired=1, ready=1),
        "in_flight": 0,
        "conditions": (Condition(type="Ready", state="true"), Condition(type="Updated", state="true")),
        "replica_list": (),
        "spec": {"name": name},
        "revisions": (RevisionStatus(id="r1", created_at="2026-01-01T00:00:00.000Z", active=True),),
    }
    return ApiStatus.model_validate({**defaults, **fields})


def a_line(message: str, replica: str = "iris-1", time: str = "2026-01-01T00:00:00.000Z") -> LogLine:
    return LogLine(replica=replica, revision="r1", time=time, level="INFO", stream="stdout", message=message)


def a_report(**fields: Any) -> MonitoringReport:
    defaults: dict[str, Any] = {"api": "iris", "revision": "r1", "window_s": 3600, "seen": 0, "sampled": 0}
    defaults |= {"baseline": BaselineReport(), "verdict": "no_baseline", "fields": ()}
    return MonitoringReport.model_validate({**defaults, **fields})


class MemoryPlane:
    """`lives_by` says what becomes of a deployed API; by default it is live at once."""

    def __init__(self, folder: Path) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.apis: dict[str, ApiStatus] = {}
        self.lines: list[LogLine] = []
        self.requests: list[DeployRequest] = []
        self.asked_by: list[str] = []
        self.entries: list[HistoryEntry] = []
        self.steps: list[ScalingStep] = []
        self.stories: dict[str, RequestStory] = {}
        self.raised: list[AlertStatus] = []
        self.webhook_works = True
        self.report: MonitoringReport | None = None
        self.logs_asked: list[dict[str, Any]] = []
        self.uploads: list[str] = []  # "stream SHA" or "path PATH"
        self.fails = False  # whether `status` finds what the engine did not expect
        self.conflict = ""  # what every deploy is answered
        self.prunes_due = 0  # so many deploys find that their files were pruned a moment before
        self.shutdowns: list[tuple[str, str | None]] = []
        self.engine = EngineStatus(pid=1, version=__version__)
        self.lives_by: Callable[[ApiStatus], list[ApiStatus]] = lambda api: [api]
        self.upload_begun, self.upload_ended = asyncio.Event(), asyncio.Event()
        self.watched = queue.SimpleQueue[ApiStatus | LogLine]()  # what was told, for tests that wait for it
        self._changed = asyncio.Event()

    def change(self, api: ApiStatus | None = None, *, gone: str = "", line: LogLine | None = None) -> None:
        """Something happened: an API is so now, or gone, or wrote a line."""
        if api is not None:
            self.apis[api.name] = api
        if line is not None:
            self.lines.append(line)
        self.apis.pop(gone, None)
        self._changed.set()
        self._changed = asyncio.Event()

    # --- the protocol ------------------------------------------------------------------------------------
    async def deploy(self, request: DeployRequest, by: str) -> list[DeployResult]:
        self.requests.append(request)
        self.asked_by.append(by)
        if self.prunes_due:
            self.prunes_due -= 1
            self.blobs.prune(())
        if self.conflict:
            raise Conflict(self.conflict)
        if not request.dry_run and self.blobs.missing(file.sha256 for api in request.apis for file in api.source.files):
            raise Conflict("files were not uploaded")
        return [self._deploy(str(api.document["name"]), dry_run=request.dry_run) for api in request.apis]

    def _deploy(self, name: str, *, dry_run: bool) -> DeployResult:
        revision = f"r{len(self.requests) + 1}"
        if not dry_run:
            api = an_api(name, revision=revision, revisions=(RevisionStatus(id=revision, created_at="", active=True),))
            self._live(api)
        return DeployResult(
            name=name, kind="RealtimeAPI", status="starting", revision=revision, endpoint=f"http://x/{name}",
            message="created", action="created",
        )  # fmt: skip

    def list(self) -> list[ApiStatus]:
        return [self.apis[name] for name in sorted(self.apis)]

    def get(self, name: str) -> ApiStatus:
        if name not in self.apis:
            raise NotFound(f"there is no API named {name}", hint="`hatchway get` lists what is deployed")
        return self.apis[name]

    def history(self, name: str) -> Sequence[HistoryEntry]:
        self.get(name)
        return self.entries

    async def monitoring(self, name: str, window_s: float) -> MonitoringReport:
        self.get(name)
        if self.report is None:
            raise MonitoringError("no API is monitored yet")
        return self.report.model_copy(update={"window_s": window_s})

    async def accept(self, name: str, request: AcceptRequest, by: str) -> AcceptedChange:
        self.get(name)
        self.asked_by.append(by)
        if self.report is None or self.report.verdict != "drift":
            raise Conflict(f"no field of {name} drifts, so there is nothing to accept")
        undone = {"undone_at": NOON, "undone_by": by} if request.undo else {}
        return AcceptedChange(at=NOON, by=by, since=NOON, fields=request.fields or ("input.age",), **undone)

    def scaling(self, name: str) -> Sequence[ScalingStep]:
        self.get(name)
        return self.steps

    def alerts(self) -> Sequence[AlertStatus]:
        return self.raised

    async def test_alert(self, name: str) -> AlertTest:
        self.get(name)
        receiver = "answered 200" if self.webhook_works else "cannot be reached"
        return AlertTest(api=name, webhook="https://hooks.test/…", taken=self.webhook_works, receiver=receiver)

    def timeline(self, name: str, window_s: float) -> Timeline:
        self.get(name)
        return Timeline(step_s=2.0, start=window_s)

    def timelines(self) -> Mapping[str, Sparkline]:
        return {"iris": Sparkline(step_s=16.0, start=0.0, requests_per_s=(1.5,), errors_per_s=(0.0,))}

    async def start(self, name: str, by: str) -> ApiStatus:
        self.asked_by.append(by)
        return self._with_status(name, "live")

    async def stop(self, name: str, by: str) -> ApiStatus:
        self.asked_by.append(by)
        return self._with_status(name, "stopped")

    async def restart(self, name: str, by: str) -> DeployResult:
        self.asked_by.append(by)
        return self._replace(self.get(name), "restarted", "restarted")

    async def rollback(self, name: str, to: str | None, by: str) -> DeployResult:
        self.asked_by.append(by)
        api = self.get(name)
        if to not in (None, *(revision.id for revision in api.revisions)):
            raise NotFound(f"{name} has no revision {to}", hint="there are: r1")
        earlier = api.model_copy(update={"revision": to or "r0"})
        return self._replace(earlier, "rolled_back", f"rolled back to revision {earlier.revision}")

    def _replace(self, api: ApiStatus, action: DeployAction, message: str) -> DeployResult:
        self._live(api)
        return DeployResult(
            name=api.name, kind=api.kind, status="updating", revision=api.revision, endpoint=api.endpoint,
            message=message, action=action, kept=("autoscaling.max_replicas 4 -> 8",),
        )  # fmt: skip

    def _live(self, api: ApiStatus) -> None:
        first, *later = self.lives_by(api)
        self.change(first)
        for delay, status in enumerate(later, 1):
            asyncio.get_running_loop().call_later(0.02 * delay, self.change, status)

    async def scale(self, name: str, request: ScaleRequest, by: str) -> ApiStatus:
        self.asked_by.append(by)
        replicas = request.replicas or 0
        if replicas > 100:
            raise UsageError(f"{replicas} is above autoscaling.max_replicas of {name} (100)")
        scaled = ScaledStatus(replicas=replicas, until=NOON, by=by) if request.for_s else None
        self.change(self.get(name).model_copy(update={"scaled": scaled}))
        return self.get(name)

    async def delete(self, name: str) -> ApiStatus:
        status = self.get(name)
        self.change(gone=name)
        return status.model_copy(update={"status": "deleting"})

    def _with_status(self, name: str, status: str) -> ApiStatus:
        self.change(self.get(name).model_copy(update={"status": status}))
        return self.get(name)

    async def watch(self, name: str) -> AsyncIterator[ApiStatus]:
        last = None
        while name in self.apis:
            changed = self._changed
            if self.apis[name] != last:
                last = self.apis[name]
                self.watched.put(last)
                yield last
            await changed.wait()

    async def watch_all(self) -> AsyncIterator[Summaries]:
        while True:
            changed = self._changed
            yield Summaries(is_all=True, apis=tuple(ApiSummary.of(api) for api in self.list()))
            await changed.wait()

    async def try_out(self, name: str, trial: TrialRequest) -> TrialAnswer:
        self.get(name)
        return TrialAnswer(
            status=200, took_ms=1.5, headers=(), request_id="r", body=trial.body, body_base64=None, is_cut=False
        )

    async def status(self) -> Status:
        if self.fails:
            raise FileNotFoundError("secret detail")
        return Status(
            engine=self.engine,
            gateway=GatewayStatus(pid=2, port=8484, url="http://127.0.0.1:8484"),
            home="/home/x/.hatchway",
            apis={"live": len(self.apis)},
            disk_bytes={"blobs": 10},
            dashboard=Address(url="http://127.0.0.1:8485"),
            metrics=Address(url="http://127.0.0.1:8485/metrics"),
        )

    async def metrics(self) -> str:
        return "hatchway_info 1\n"

    def dashboard_link(self) -> str:
        return "http://127.0.0.1:8485/enter?code=abc"

    async def logs(self, name: str, query: LogQuery, *, follow: bool) -> AsyncIterator[LogLine]:
        self.logs_asked.append({**dataclasses.asdict(query), "follow": follow})
        if query.replica == "nobody":
            raise NotFound("there is no replica nobody")
        if query.replica == "broken":
            raise RuntimeError("secret detail")
        sent = 0
        while True:
            changed = self._changed
            for line in self.lines[sent:]:
                yield line
                self.watched.put(line)
            sent = len(self.lines)
            if not follow:
                return
            await changed.wait()

    async def request(self, request_id: str) -> RequestStory:
        if request_id not in self.stories:
            raise NotFound(f"nothing is known of {request_id}")
        return self.stories[request_id]

    async def prune(self) -> dict[str, int]:
        return {"blobs": self.blobs.prune(())}

    async def missing_blobs(self, hashes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.blobs.missing(hashes))

    async def add_blob(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        async def watched() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                self.upload_begun.set()
                yield chunk

        try:
            await self.blobs.add_async_stream(sha256, watched())
        finally:
            self.upload_ended.set()
        self.uploads.append(f"stream {sha256}")

    async def add_blobs_from_paths(self, paths: Mapping[str, Path]) -> None:
        for sha256, path in paths.items():
            self.blobs.add_path(sha256, path)
            self.uploads.append(f"path {path}")

    def request_shutdown(self, mode: ShutdownMode, python: str | None) -> None:
        self.shutdowns.append((mode, python))
        if python == "broken":
            raise RuntimeError("secret detail")


@asynccontextmanager
async def served(plane: MemoryPlane, *, accepts_paths: bool = True) -> AsyncIterator[Path]:
    """The socket on which `plane` is served, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "engine.sock"
        async with served_at(path, plane, accepts_paths=accepts_paths):
            yield path


@asynccontextmanager
async def served_at(path: Path, plane: MemoryPlane, *, accepts_paths: bool = True) -> AsyncIterator[None]:
    """`plane` is served on this socket for as long as the block lasts; other planes may be before and after."""
    task = asyncio.create_task(serve(make_app(plane, accepts_paths=accepts_paths), path))
    await asyncio.sleep(0)  # the socket listens before the server's first wait
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class RunningPlane:
    """A plane served by a loop in another thread, for clients that block."""

    def __init__(self, plane: MemoryPlane, loop: asyncio.AbstractEventLoop, socket: Path) -> None:
        self.plane = plane
        self.socket = socket
        self._loop = loop

    def change(self, api: ApiStatus | None = None, *, gone: str = "", line: LogLine | None = None) -> None:
        self._loop.call_soon_threadsafe(lambda: self.plane.change(api, gone=gone, line=line))


@contextmanager
def served_in_thread(folder: Path) -> Iterator[RunningPlane]:
    ready, found, done = threading.Event(), list[RunningPlane](), list[Callable[[], None]]()

    async def main() -> None:
        plane, loop, end = MemoryPlane(folder), asyncio.get_running_loop(), asyncio.Event()
        async with served(plane) as socket:
            found.append(RunningPlane(plane, loop, socket))
            done.append(lambda: (loop.call_soon_threadsafe(end.set), None)[1])
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        done[0]()
        thread.join()
