"""`Client`: the control plane of a home, for programs that block."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from hatchway.client import calls
from hatchway.client.absence import PATIENCE_S, Absence
from hatchway.client.calls import Call, LogFilters
from hatchway.client.following import Feed, LogFeed, WatchFeed
from hatchway.client.http import Http
from hatchway.client.model_checks import MayTrust, may_trust
from hatchway.client.predictions import Prediction, body_of, prediction
from hatchway.client.progress import OnProgress, silent
from hatchway.client.waiting import Waiting
from hatchway.client.ways import Way, choose_way
from hatchway.errors import DeployFailed, EngineUnavailable, HatchwayError, NotFound, PredictionFailed
from hatchway.project import Project
from hatchway.spec.alerts import AlertStatus, AlertTest
from hatchway.spec.monitoring import AcceptedChange, MonitoringReport
from hatchway.spec.status import ApiStatus, DeployResult, HistoryEntry, LogLine, ScalingStep, Status
from hatchway.spec.story import RequestStory
from hatchway.spec.timeline import Sparkline, Timeline

T = TypeVar("T")


class Client:
    """The control plane of a home on this machine, or of a cluster. Every method may raise EngineUnavailable.

    `env`: the name of a target; by default where commands act: what HATCHWAY_ENV names, what `hatchway env use` chose,
    this machine. `socket`: the socket of another engine. Raises NotFound for a target that is not there.
    """

    def __init__(self, *, env: str | None = None, socket: Path | None = None) -> None:
        self._way, self._cache_file = choose_way(env, socket)
        self._http = Http(self._way)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """A connection to a cluster ends. Nothing else is held open between questions."""
        self._way.close()

    @property
    def way(self) -> Way:
        """Where requests go."""
        return self._way

    def status(self) -> Status:
        """The engine, the gateway, and how many APIs are in which phase."""
        return self._http.send(calls.status())

    def list(self) -> list[ApiStatus]:
        """All APIs, by name."""
        return self._http.send(calls.list_apis())

    def get(self, name: str) -> ApiStatus:
        """Raises NotFound."""
        return self._http.send(calls.get(name))

    def deploy(  # noqa: PLR0913 (keywords of a public call)
        self,
        *paths: str | Path | Project,
        names: Sequence[str] | None = None,
        name: str | None = None,
        trust: bool | MayTrust = False,
        dry_run: bool = False,
        force: bool = False,
        wait: bool = True,
        timeout_s: float | None = None,
        on_progress: OnProgress = silent,
    ) -> Sequence[DeployResult]:
        """Deploy YAML files, their folders (default: here) or models' files, and wait until all their APIs are live.

        `name`: of the API that serves a model, by default made from its file's. `trust`: whether a model that may run
        code while it loads is loaded, for all of this deploy or asked for each; what was trusted once is remembered.
        `force`: also in the place of another update that goes on.
        Raises InvalidSpec, Conflict, NoCapacity, DeployFailed, TimedOut.
        """
        from hatchway.client.deploying import Deploy, advance  # reads projects: most callers never do

        steps = Deploy(
            paths,
            names,
            name,
            may_trust(trust),
            dry_run,
            force,
            os.environ,
            self._cache_file,
            on_progress,
            accepts_paths=self._way.accepts_paths,
        ).steps()
        step = advance(steps, None)
        while isinstance(step, Call):
            try:
                answer = self._http.send(step)
            except HatchwayError as error:
                answer = error
            step = advance(steps, answer)
        results = step
        if dry_run or not wait:
            return results
        return [self.wait(result, timeout_s=timeout_s, on_progress=on_progress) for result in results]

    def wait(
        self, result: DeployResult, *, timeout_s: float | None = None, on_progress: OnProgress = silent
    ) -> DeployResult:
        """Wait until a deploy is decided, by default for the API's ready_timeout. Raises DeployFailed, TimedOut."""
        waiting = Waiting(result, timeout_s, on_progress, time.monotonic())
        feed = WatchFeed(result.name, logs=True, since_s=1.0, has_begun=True)  # the engine has just answered
        for event in self._follow(feed, waiting.limit_s):
            decided = waiting.see(event, time.monotonic())
            if decided is not None:
                return decided
        raise DeployFailed(f"{result.name} was deleted")

    def watch(self, name: str, *, logs: bool = False) -> Iterator[ApiStatus | LogLine]:
        """The status now and whenever it changes, and with `logs` new log lines; ends when the API is gone."""
        return (event for event in self._follow(WatchFeed(name, logs=logs)) if event is not None)

    def logs(  # noqa: PLR0913 (keywords of a public call)
        self,
        name: str,
        *,
        replica: str | None = None,
        revision: str | None = None,
        since: str | None = None,
        until: str | None = None,
        level: str | None = None,
        text: str | None = None,
        request_id: str | None = None,
        max_bytes: int | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """Log lines that fit all that is given, oldest first.

        `since` and `until`: an age like "10m", or a moment like "2026-01-31T12:00:00Z". `level`: this one and above.
        `text`: what the message or the request's id holds, in any case when it has no capitals. `max_bytes`: only the
        newest that take so much, 128 KiB at least; not for what is followed. Raises NotFound, UsageError.
        """
        filters = LogFilters(replica, revision, request_id, since, until, level, text, max_bytes)
        if follow:
            lines = self._follow(LogFeed(name, filters))
        else:
            lines = self._http.items(calls.logs(name, filters, follow=False))
        return (line for line in lines if line is not None)

    def start(self, name: str) -> ApiStatus:
        """Run what was stopped, or try again what failed. Raises NotFound."""
        return self._http.send(calls.change(name, "start"))

    def stop(self, name: str) -> ApiStatus:
        """Let the replicas finish and end; the API is kept. Raises NotFound."""
        return self._http.send(calls.change(name, "stop"))

    def restart(
        self, name: str, *, wait: bool = True, timeout_s: float | None = None, on_progress: OnProgress = silent
    ) -> DeployResult:
        """Replace all replicas by new ones of the same revision, new before old. The rest is as with `deploy`.

        Raises NotFound, Conflict, NoCapacity, DeployFailed, TimedOut.
        """
        result = self._http.send(calls.restart(name))
        return self.wait(result, timeout_s=timeout_s, on_progress=on_progress) if wait else result

    def rollback(
        self,
        name: str,
        *,
        to: str | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        on_progress: OnProgress = silent,
    ) -> DeployResult:
        """Go back to the revision that was live before, or `to` one. The rest is as with `deploy`.

        Raises NotFound, Conflict, NoCapacity, DeployFailed, TimedOut.
        """
        result = self._http.send(calls.rollback(name, to))
        return self.wait(result, timeout_s=timeout_s, on_progress=on_progress) if wait else result

    def scale(self, name: str, replicas: int | None = None, *, for_s: float) -> ApiStatus:
        """Run so many replicas for a while, whatever the load; 0 seconds end that.

        Raises NotFound, UsageError outside autoscaling.min_replicas and max_replicas, Conflict.
        """
        return self._http.send(calls.scale(name, replicas, for_s))

    def history(self, name: str) -> Sequence[HistoryEntry]:
        """Who did what to an API, and what became of it; the newest first. Raises NotFound."""
        return self._http.send(calls.history(name))

    def scaling(self, name: str) -> Sequence[ScalingStep]:
        """What the autoscaler decided and why, the newest first. Raises NotFound."""
        return self._http.send(calls.scaling(name))

    def story(self, request_id: str) -> RequestStory:
        """What became of the request with this x-request-id. Raises NotFound."""
        return self._http.send(calls.request(request_id))

    def timeline(self, name: str, window_s: float = 900) -> Timeline:
        """How an API was over the last while, an hour at most, step by step. Raises NotFound."""
        return self._http.send(calls.timeline(name, window_s))

    def timelines(self) -> dict[str, Sparkline]:
        """Requests of each API that was not at rest, in few points."""
        return self._http.send(calls.timelines())

    def alerts(self) -> Sequence[AlertStatus]:
        """Alerts that go on, of all APIs."""
        return self._http.send(calls.alerts())

    def test_alert(self, name: str) -> AlertTest:
        """Post a message for trying to the webhook of an API. Raises NotFound, Conflict when it has none."""
        return self._http.send(calls.test_alert(name))

    def monitoring(self, name: str, *, window_s: float = 3600.0) -> MonitoringReport:
        """What the API was sent and answered in the last `window_s` seconds, and whether that differs from before.

        Raises NotFound, MonitoringError.
        """
        return self._http.send(calls.monitoring(name, window_s))

    def accept(self, name: str, *, fields: Sequence[str] | None = None) -> AcceptedChange:
        """Say that drift is the new normal: of all fields that drift, or of these ("input.age").

        What was seen of them since it began is their baseline from now on. Raises NotFound, Conflict when they do not
        drift, MonitoringError.
        """
        return self._http.send(calls.accept(name, fields))

    def undo_accept(self, name: str) -> AcceptedChange:
        """Take back what was accepted last. Raises NotFound, Conflict when there is nothing, MonitoringError."""
        return self._http.send(calls.undo_accept(name))

    def delete(self, name: str) -> ApiStatus:
        """Stop an API and forget it. Returns at once; `watch` ends when it is gone. Raises NotFound."""
        return self._http.send(calls.delete(name))

    def predict(self, name: str, payload: Any, *, content_type: str | None = None) -> Any:
        """One request through the gateway; its answer decoded. Raises PredictionFailed, NotFound."""
        return self.request(name, payload, content_type=content_type).value

    def request(self, name: str, payload: Any, *, content_type: str | None = None) -> Prediction:
        """Like `predict`, with status, content type and request id."""
        import httpx  # for the gateway alone

        door = self._way.gateway(self.get(name).endpoint)
        url = door.url
        body, kind = body_of(payload, content_type)
        transport = None if door.socket is None else httpx.HTTPTransport(uds=str(door.socket))
        try:
            # Not through a proxy of the environment: the gateway is on this machine, or in a network of its own.
            with httpx.Client(timeout=None, trust_env=False, transport=transport) as http:
                return prediction(name, http.post(url, content=body, headers={"content-type": kind}))
        except httpx.HTTPError as exc:
            raise PredictionFailed(f"{name} did not answer at {url}: {exc}") from exc

    def prune(self) -> dict[str, int]:
        """Remove what no API needs. Returns the bytes freed, by folder of the home."""
        return self._http.send(calls.prune())

    def dashboard_link(self) -> str:
        """A link that lets one browser into the dashboard, once, within ten minutes."""
        return self._http.send(calls.dashboard_link())

    def shut_down(self, mode: Literal["down", "restart", "handover"] = "down", python: str | None = None) -> None:
        """End everything, or only the engine, for another to take over."""
        self._http.send(calls.shut_down(mode, python))

    def _follow(self, feed: Feed[T], patience_s: float = PATIENCE_S) -> Iterator[T | None]:
        """What is new, over the engines that come and go; None for a moment without news."""
        absence = Absence(self._way, patience_s)
        while not feed.is_over:
            try:
                for item in self._http.items(feed.stream(time.time())):
                    absence.end()
                    yield feed.see(item)
                feed.close()
            except NotFound:
                if not feed.has_begun:
                    raise
                return  # deleted while nobody could tell
            except EngineUnavailable as error:
                if not feed.has_begun:
                    raise
                while True:
                    yield None
                    time.sleep(absence.pause_s(error, time.monotonic()))
                    if self._way.is_listening():
                        break
