"""`AsyncClient`: `Client` for asyncio."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import httpx

from hatchway.client import calls
from hatchway.client.absence import PATIENCE_S, Absence
from hatchway.client.calls import Call, Content, LogFilters, Stream
from hatchway.client.connection import ANSWER_TIMEOUT_S, raise_for
from hatchway.client.deploying import Deploy, advance
from hatchway.client.following import Feed, LogFeed, WatchFeed
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


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(self, *, env: str | None = None, socket: Path | None = None, way: Way | None = None) -> None:
        """`way`: that of a `Client`, which also closes it."""
        chosen, self._cache_file = choose_way(env, socket)
        self._way = way or chosen
        self._owns_way = way is None
        self._opened: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()
        if self._owns_way:
            await asyncio.to_thread(self._way.close)

    async def status(self) -> Status:
        """See `Client.status`."""
        return await self._send(calls.status())

    async def list(self) -> list[ApiStatus]:
        """See `Client.list`."""
        return await self._send(calls.list_apis())

    async def get(self, name: str) -> ApiStatus:
        """See `Client.get`."""
        return await self._send(calls.get(name))

    async def deploy(  # noqa: PLR0913 (keywords of a public call)
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
        """See `Client.deploy`. While files are read and sent, `on_progress` is called in a thread."""
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
        step = await asyncio.to_thread(advance, steps, None)  # a step may read gigabytes
        while isinstance(step, Call):
            try:
                answer = await self._send(step)
            except HatchwayError as error:
                answer = error
            step = await asyncio.to_thread(advance, steps, answer)
        results = step
        if dry_run or not wait:
            return results
        return [await self.wait(result, timeout_s=timeout_s, on_progress=on_progress) for result in results]

    async def wait(
        self, result: DeployResult, *, timeout_s: float | None = None, on_progress: OnProgress = silent
    ) -> DeployResult:
        """See `Client.wait`."""
        waiting = Waiting(result, timeout_s, on_progress, time.monotonic())
        feed = WatchFeed(result.name, logs=True, since_s=1.0, has_begun=True)  # the engine has just answered
        following = self._follow(feed, waiting.limit_s)
        async with aclosing(following):
            async for event in following:
                decided = waiting.see(event, time.monotonic())
                if decided is not None:
                    return decided
        raise DeployFailed(f"{result.name} was deleted")

    async def watch(self, name: str, *, logs: bool = False) -> AsyncIterator[ApiStatus | LogLine]:
        """See `Client.watch`."""
        async for event in self._follow(WatchFeed(name, logs=logs)):
            if event is not None:
                yield event

    async def logs(  # noqa: PLR0913 (keywords of a public call)
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
    ) -> AsyncIterator[LogLine]:
        """See `Client.logs`."""
        wanted = LogFilters(replica, revision, request_id, since, until, level, text, max_bytes)
        if follow:
            lines = self._follow(LogFeed(name, wanted))
        else:
            asked = calls.logs(name, wanted, follow=False)
            lines = self._items(asked)
        async for line in lines:
            if line is not None:
                yield line

    async def start(self, name: str) -> ApiStatus:
        """See `Client.start`."""
        return await self._send(calls.change(name, "start"))

    async def stop(self, name: str) -> ApiStatus:
        """See `Client.stop`."""
        return await self._send(calls.change(name, "stop"))

    async def restart(
        self, name: str, *, wait: bool = True, timeout_s: float | None = None, on_progress: OnProgress = silent
    ) -> DeployResult:
        """See `Client.restart`."""
        result = await self._send(calls.restart(name))
        return await self.wait(result, timeout_s=timeout_s, on_progress=on_progress) if wait else result

    async def rollback(
        self,
        name: str,
        *,
        to: str | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        on_progress: OnProgress = silent,
    ) -> DeployResult:
        """See `Client.rollback`."""
        result = await self._send(calls.rollback(name, to))
        return await self.wait(result, timeout_s=timeout_s, on_progress=on_progress) if wait else result

    async def scale(self, name: str, replicas: int | None = None, *, for_s: float) -> ApiStatus:
        """See `Client.scale`."""
        return await self._send(calls.scale(name, replicas, for_s))

    async def history(self, name: str) -> Sequence[HistoryEntry]:
        """See `Client.history`."""
        return await self._send(calls.history(name))

    async def scaling(self, name: str) -> Sequence[ScalingStep]:
        """See `Client.scaling`."""
        return await self._send(calls.scaling(name))

    async def story(self, request_id: str) -> RequestStory:
        """See `Client.story`."""
        return await self._send(calls.request(request_id))

    async def timeline(self, name: str, window_s: float = 900) -> Timeline:
        """See `Client.timeline`."""
        return await self._send(calls.timeline(name, window_s))

    async def timelines(self) -> dict[str, Sparkline]:
        """See `Client.timelines`."""
        return await self._send(calls.timelines())

    async def alerts(self) -> Sequence[AlertStatus]:
        """See `Client.alerts`."""
        return await self._send(calls.alerts())

    async def test_alert(self, name: str) -> AlertTest:
        """See `Client.test_alert`."""
        return await self._send(calls.test_alert(name))

    async def monitoring(self, name: str, *, window_s: float = 3600.0) -> MonitoringReport:
        """See `Client.monitoring`."""
        return await self._send(calls.monitoring(name, window_s))

    async def accept(self, name: str, *, fields: Sequence[str] | None = None) -> AcceptedChange:
        """See `Client.accept`."""
        return await self._send(calls.accept(name, fields))

    async def undo_accept(self, name: str) -> AcceptedChange:
        """See `Client.undo_accept`."""
        return await self._send(calls.undo_accept(name))

    async def delete(self, name: str) -> ApiStatus:
        """See `Client.delete`."""
        return await self._send(calls.delete(name))

    async def predict(self, name: str, payload: Any, *, content_type: str | None = None) -> Any:
        """See `Client.predict`."""
        return (await self.request(name, payload, content_type=content_type)).value

    async def request(self, name: str, payload: Any, *, content_type: str | None = None) -> Prediction:
        """See `Client.request`."""
        endpoint = (await self.get(name)).endpoint
        door = await asyncio.to_thread(self._way.gateway, endpoint)
        url = door.url
        body, kind = body_of(payload, content_type)
        transport = None if door.socket is None else httpx.AsyncHTTPTransport(uds=str(door.socket))
        try:
            async with httpx.AsyncClient(timeout=None, trust_env=False, transport=transport) as http:
                return prediction(name, await http.post(url, content=body, headers={"content-type": kind}))
        except httpx.HTTPError as exc:
            raise PredictionFailed(f"{name} did not answer at {url}: {exc}") from exc

    async def prune(self) -> dict[str, int]:
        """See `Client.prune`."""
        return await self._send(calls.prune())

    async def dashboard_link(self) -> str:
        """See `Client.dashboard_link`."""
        return await self._send(calls.dashboard_link())

    async def shut_down(self, mode: Literal["down", "restart", "handover"] = "down", python: str | None = None) -> None:
        """See `Client.shut_down`."""
        await self._send(calls.shut_down(mode, python))

    async def _http(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._opened is None:
                door = await asyncio.to_thread(self._way.door)
                transport = None if door.socket is None else httpx.AsyncHTTPTransport(uds=str(door.socket))
                self._opened = httpx.AsyncClient(
                    transport=transport, base_url=door.url, headers=self._way.headers(), timeout=ANSWER_TIMEOUT_S
                )
            return self._opened

    async def _send(self, call: Call[T]) -> T:
        http = await self._http()
        headers = dict(call.headers)
        if call.content is not None:
            headers["content-length"] = str(call.content.size_bytes)
        async with self._errors():
            answer = await http.request(
                call.method,
                call.path,
                json=call.json,
                content=None if call.content is None else _read(call.content),
                headers=headers,
                timeout=call.timeout_s,
            )
        return call.result(answer.status_code, answer.content)

    async def _items(self, stream: Stream[T]) -> AsyncGenerator[T | None, None]:
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, read=None if stream.is_endless else ANSWER_TIMEOUT_S)
        asked = (await self._http()).stream("GET", stream.path, params=stream.params, timeout=timeout)
        async with self._errors(), asked as answer:
            if not answer.is_success:
                raise_for(answer.status_code, await answer.aread())
            async for line in answer.aiter_lines():
                yield stream.read(line)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Turns what httpx raises into TimedOut or EngineUnavailable."""
        try:
            yield
        except httpx.TimeoutException as exc:
            raise self._way.too_late() from exc
        except httpx.HTTPError as exc:
            raise self._way.gone() from exc

    async def _follow(self, feed: Feed[T], patience_s: float = PATIENCE_S) -> AsyncGenerator[T | None, None]:
        """What is new, over the engines that come and go; None for a moment without news."""
        absence = Absence(self._way, patience_s)
        while not feed.is_over:
            try:
                async with aclosing(self._items(feed.stream(time.time()))) as items:
                    async for item in items:
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
                    await asyncio.sleep(absence.pause_s(error, time.monotonic()))
                    if self._way.is_listening():
                        break


async def _read(content: Content) -> AsyncIterator[bytes]:
    """In threads: disks block."""
    chunks = content.chunks()
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
