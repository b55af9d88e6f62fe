"""`Client` and `AsyncClient`: everything the command line does, from Python, with typed results.

Both speak HTTP to the engine's unix socket. What is asked and what an answer means is written once, in `_Call`s and
in generators that yield them; the two clients differ only in how they send.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar
from urllib.parse import quote, quote_from_bytes

import httpx
from pydantic import BaseModel, TypeAdapter

from hatchway.errors import (
    DeployFailed,
    EngineUnavailable,
    HatchwayError,
    NotFound,
    PredictionFailed,
    TimedOut,
    from_dict,
)
from hatchway.project import Cache, Project, collect, git_commit, interpreter, load_project
from hatchway.settings import Settings
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.load import check_files
from hatchway.spec.revision import Source
from hatchway.spec.status import ApiStatus, DeployResult, LogLine, Status

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

ANSWER_TIMEOUT_S = 60.0
UPLOAD_TIMEOUT_S = 3600.0
DEPLOY_MARGIN_S = 30.0  # beyond the APIs' ready_timeout, after which the engine itself gives up
JSON = "application/json"


# --- progress of a deploy --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Hashing:
    """The project's files are being read."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Uploading:
    """A file that the engine has not is being sent."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class StatusSeen:
    """An API's status, whenever it changed."""

    status: ApiStatus


@dataclass(frozen=True)
class LogSeen:
    """A line of a handler while it loads."""

    api: str
    line: LogLine


ProgressEvent = Hashing | Uploading | StatusSeen | LogSeen
OnProgress = Callable[[ProgressEvent], None]


def _silent(event: ProgressEvent) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Prediction:
    """An answer of an API."""

    status: int
    content_type: str
    body: bytes
    request_id: str

    @property
    def value(self) -> Any:
        """The answer by its type: JSON decoded, text as str, anything else as bytes. Raises PredictionFailed."""
        kind = self.content_type.partition(";")[0].strip()
        if kind == JSON or kind.endswith("+json"):
            return _decoded(self)
        return self.body.decode(errors="replace") if kind.startswith("text/") else self.body


def _decoded(answer: Prediction) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError as exc:
        raise PredictionFailed(
            f"the answer says that it is JSON and cannot be read: {exc}",
            status=answer.status,
            request_id=answer.request_id,
        ) from exc


# --- what is asked -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Call(Generic[T]):
    """One request and how to read its answer."""

    method: str
    path: str
    read: Callable[[bytes], T]
    json: Any = None
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = ANSWER_TIMEOUT_S


def _one(model: type[M]) -> Callable[[bytes], M]:
    return model.model_validate_json


def _many(model: type[M]) -> Callable[[bytes], list[M]]:
    return TypeAdapter(list[model]).validate_json  # type: ignore[valid-type]


def _api(name: str, verb: str = "") -> str:
    return f"/v1/apis/{quote(name, safe='')}{verb}"


def _status() -> _Call[Status]:
    return _Call("GET", "/v1/status", _one(Status))


def _list() -> _Call[list[ApiStatus]]:
    return _Call("GET", "/v1/apis", _many(ApiStatus))


def _get(name: str) -> _Call[ApiStatus]:
    return _Call("GET", _api(name), _one(ApiStatus))


def _change(name: str, verb: Literal["start", "stop"]) -> _Call[ApiStatus]:
    return _Call("POST", _api(name, f"/{verb}"), _one(ApiStatus))


def _delete(name: str) -> _Call[ApiStatus]:
    return _Call("DELETE", _api(name), _one(ApiStatus))


def _prune() -> _Call[dict[str, int]]:
    return _Call("POST", "/v1/prune", lambda body: dict(json.loads(body)), timeout_s=UPLOAD_TIMEOUT_S)


def _shut_down(mode: str, python: str | None) -> _Call[None]:
    return _Call("POST", "/v1/shutdown", lambda _: None, json={"mode": mode, "python": python})


def _log_params(replica: str | None, since: str | None, request_id: str | None, *, follow: bool) -> dict[str, str]:
    given = {"replica": replica, "since": since, "request_id": request_id, "follow": "1" if follow else None}
    return {name: value for name, value in given.items() if value is not None}


# --- a deploy, step by step, without sending anything -------------------------------------------------------------
@dataclass(frozen=True)
class _Deploy:
    paths: Sequence[str | Path]
    names: Sequence[str] | None
    dry_run: bool
    environ: Mapping[str, str]
    cache_file: Path
    on_progress: OnProgress

    def steps(self) -> Generator[_Call[Any], Any, list[DeployResult]]:
        """Yields what is to be sent, is given the answers, returns the results."""
        documents: list[ApiDocument] = []
        contents: dict[str, Path] = {}
        for path in self.paths or (".",):
            project = load_project(Path(path), self.environ)
            found, paths = self._documents(project)
            documents += found
            contents |= paths
        self._check_names(documents)
        if not self.dry_run:
            missing = yield _Call(
                "POST", "/v1/blobs/missing", lambda body: json.loads(body)["missing"], json={"hashes": sorted(contents)}
            )
            for sha256 in missing:
                path = contents[sha256]
                self.on_progress(Uploading(path.name, path.stat().st_size))
                headers = {"x-hatchway-source-path": quote_from_bytes(os.fsencode(path.resolve()))}
                yield _Call("PUT", f"/v1/blobs/{sha256}", lambda _: None, headers=headers, timeout_s=UPLOAD_TIMEOUT_S)
        request = DeployRequest(apis=tuple(documents), dry_run=self.dry_run)
        results = yield _Call(
            "POST", "/v1/deploy", _many(DeployResult), json=request.model_dump(mode="json"), timeout_s=UPLOAD_TIMEOUT_S
        )
        return list(results)

    def _documents(self, project: Project) -> tuple[list[ApiDocument], Mapping[str, Path]]:
        wanted = [api for api in project.apis if self.names is None or api.spec.name in self.names]
        if not wanted:
            return [], {}
        with Cache(self.cache_file) as cache:
            tree = collect(
                project.root,
                leave_out=project.root / project.file.name,
                cache=cache,
                on_progress=lambda done, total: self.on_progress(Hashing(done, total)),
            )
            names = {file.path for file in tree.files}
            commit = git_commit(project.root)
            found = []
            for api in wanted:
                check_files(api, names)
                handler = api.spec.handler
                python = interpreter(
                    handler.python,
                    self.environ,
                    root=project.root,
                    with_packages=handler.dependencies.pip is None,
                    cache=cache,
                )
                source = Source(files=tree.files, interpreter=python, git_commit=commit)
                found.append(
                    ApiDocument(document=api.document, variables=api.variables, source=source, location=api.location)
                )
        return found, tree.paths

    def _check_names(self, documents: Sequence[ApiDocument]) -> None:
        known = {str(document.document.get("name")) for document in documents}
        for name in self.names or ():
            if name not in known:
                raise NotFound(f"no API named {name} in {', '.join(map(str, self.paths or ('.',)))}")


def _advance(
    steps: Generator[_Call[Any], Any, list[DeployResult]], answer: object
) -> _Call[Any] | Sequence[DeployResult]:
    """The next call, or the results at the end: a StopIteration cannot leave a thread."""
    try:
        return steps.send(answer)
    except StopIteration as end:
        return list(end.value)


def outcome(result: DeployResult, status: ApiStatus) -> DeployResult | None:
    """What became of a deploy once it is decided, else None. Raises DeployFailed."""
    if status.revision != result.revision or status.status == "deleting":
        raise DeployFailed(f"{result.name}: another deploy took over")
    reached = result.model_copy(update={"status": status.status})
    updated = next((one for one in status.conditions if one.type == "Updated"), None)
    accepted = next((one for one in status.conditions if one.type == "GatewayAccepted"), None)
    for condition in (updated, accepted):
        if condition is not None and condition.state == "false":
            raise DeployFailed(f"{result.name}: {condition.reason}: {condition.message}")
    if status.status == "failed":
        raise DeployFailed(f"{result.name}: {status.reason}: {status.message}")
    is_served = accepted is None or accepted.state == "true"
    return reached if status.status in ("live", "idle") and is_served else None


class _Waiting:
    """Watches one API until its deploy is decided: pure but for the clock it is given."""

    def __init__(self, result: DeployResult, timeout_s: float | None, on_progress: OnProgress, now: float) -> None:
        self._result = result
        self._timeout_s = timeout_s
        self._on_progress = on_progress
        self._since = now
        self._last: ApiStatus | None = None

    def see(self, event: ApiStatus | LogLine | None, now: float) -> DeployResult | None:
        """None stands for a moment without news. Raises DeployFailed, TimedOut."""
        if isinstance(event, LogLine):
            self._on_progress(LogSeen(self._result.name, event))
        elif event is not None:
            self._last = event
            self._on_progress(StatusSeen(event))
            decided = outcome(self._result, event)
            if decided is not None:
                return decided
        # The status of now comes first, so that even a limit of no time tells what stands in the way.
        if self._last is not None and now - self._since >= self._limit_s():
            raise TimedOut(
                f"{self._result.name} was not live within {self._limit_s():g} s{self._why()}",
                hint=f"it goes on in the background: hatchway get {self._result.name}",
            )
        return None

    def _limit_s(self) -> float:
        if self._timeout_s is not None:
            return self._timeout_s
        return ANSWER_TIMEOUT_S * 60 if self._last is None else _ready_timeout_s(self._last) + DEPLOY_MARGIN_S

    def _why(self) -> str:
        return f": {self._last.reason}: {self._last.message}" if self._last is not None and self._last.reason else ""


def _ready_timeout_s(status: ApiStatus) -> float:
    from hatchway.spec.values import parse_duration

    return parse_duration(status.spec.get("update_strategy", {}).get("ready_timeout", "300s"))


class _Events:
    """Server-sent events, line by line."""

    def __init__(self) -> None:
        self._event = ""
        self._data: list[str] = []

    def feed(self, line: str) -> ApiStatus | LogLine | None:
        """The event that a line completes; None for the rest. Raises the error the engine sent, or StopIteration."""
        if line.startswith("event:"):
            self._event = line[6:].strip()
        elif line.startswith("data:"):
            self._data.append(line[5:].strip())
        elif not line and self._event:
            event, data = self._event, "\n".join(self._data)
            self._event, self._data = "", []
            if event == "status":
                return ApiStatus.model_validate_json(data)
            if event == "log":
                return LogLine.model_validate_json(data)
            if event == "error":
                raise from_dict(json.loads(data))
        return None


# --- predictions ---------------------------------------------------------------------------------------------------
def _payload(payload: Any, content_type: str | None) -> tuple[bytes, str]:
    if isinstance(payload, bytes):
        return payload, content_type or "application/octet-stream"
    if isinstance(payload, str) and content_type is not None:
        return payload.encode(), content_type
    if isinstance(payload, str):
        return payload.encode(), "text/plain; charset=utf-8"
    return json.dumps(payload).encode(), content_type or JSON


def _prediction(name: str, answer: httpx.Response) -> Prediction:
    found = Prediction(
        status=answer.status_code,
        content_type=answer.headers.get("content-type", ""),
        body=answer.content,
        request_id=answer.headers.get("x-request-id", ""),
    )
    if answer.is_success:
        return found
    raise PredictionFailed(
        f"{name} answered {answer.status_code}: {answer.text[:2000].strip()}",
        status=answer.status_code,
        request_id=found.request_id,
    )


def _settings(socket: Path | None) -> tuple[Path, Path]:
    """(the engine's socket, the cache of what was read before)."""
    settings = Settings.from_environment(os.environ)
    return socket or settings.engine_socket, settings.home / "project-cache.db"


def _raise_for(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise EngineUnavailable(f"the engine answered {answer.status_code}: {answer.text[:200]}") from None
    raise from_dict(error)


def _unavailable(exc: httpx.HTTPError) -> HatchwayError:
    if isinstance(exc, httpx.TimeoutException):
        return TimedOut("the engine did not answer in time")
    return EngineUnavailable("the engine is not running, or went away", hint="start it with: hatchway up")


# --- the clients ---------------------------------------------------------------------------------------------------
class Client:
    """The control plane of a home on this machine. Every method may raise EngineUnavailable.

    `socket`: the engine's socket; by default that of the home which the environment names.
    """

    def __init__(self, *, socket: Path | None = None) -> None:
        path, self._cache_file = _settings(socket)
        transport = httpx.HTTPTransport(uds=str(path))
        self._http = httpx.Client(transport=transport, base_url="http://engine", timeout=ANSWER_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def status(self) -> Status:
        """The engine, the gateway, and how many APIs are in which phase."""
        return self._send(_status())

    def list(self) -> list[ApiStatus]:
        """All APIs, by name."""
        return self._send(_list())

    def get(self, name: str) -> ApiStatus:
        """Raises NotFound."""
        return self._send(_get(name))

    def deploy(
        self,
        *paths: str | Path,
        names: Sequence[str] | None = None,
        dry_run: bool = False,
        wait: bool = True,
        timeout_s: float | None = None,
        on_progress: OnProgress = _silent,
    ) -> Sequence[DeployResult]:
        """Deploy YAML files or folders (default: here), and wait until all their APIs are live.

        Raises InvalidSpec, DeployFailed, TimedOut.
        """
        steps = _Deploy(paths, names, dry_run, os.environ, self._cache_file, on_progress).steps()
        step = _advance(steps, None)
        while isinstance(step, _Call):
            step = _advance(steps, self._send(step))
        results = step
        if dry_run or not wait:
            return results
        return [self.wait(result, timeout_s=timeout_s, on_progress=on_progress) for result in results]

    def wait(
        self, result: DeployResult, *, timeout_s: float | None = None, on_progress: OnProgress = _silent
    ) -> DeployResult:
        """Wait until a deploy is decided, by default for the API's ready_timeout. Raises DeployFailed, TimedOut."""
        waiting = _Waiting(result, timeout_s, on_progress, time.monotonic())
        for event in self._events(result.name, logs=True, since_s=1):
            decided = waiting.see(event, time.monotonic())
            if decided is not None:
                return decided
        raise DeployFailed(f"{result.name} was deleted")

    def watch(self, name: str, *, logs: bool = False) -> Iterator[ApiStatus | LogLine]:
        """The status now and whenever it changes, and with `logs` new log lines; ends when the API is gone."""
        return (event for event in self._events(name, logs=logs) if event is not None)

    def logs(
        self,
        name: str,
        *,
        replica: str | None = None,
        since: str | None = None,
        request_id: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """Log lines, oldest first; `since` is an age like "10m". Raises NotFound."""
        params = _log_params(replica, since, request_id, follow=follow)
        for line in self._lines(_api(name, "/logs"), params, endless=follow):
            if line.strip():
                yield _log_line(line)

    def start(self, name: str) -> ApiStatus:
        """Run what was stopped, or try again what failed. Raises NotFound."""
        return self._send(_change(name, "start"))

    def stop(self, name: str) -> ApiStatus:
        """Let the replicas finish and end; the API is kept. Raises NotFound."""
        return self._send(_change(name, "stop"))

    def delete(self, name: str) -> ApiStatus:
        """Stop an API and forget it. Returns at once; `watch` ends when it is gone. Raises NotFound."""
        return self._send(_delete(name))

    def predict(self, name: str, payload: Any, *, content_type: str | None = None) -> Any:
        """One request through the gateway; its answer decoded. Raises PredictionFailed, NotFound."""
        return self.request(name, payload, content_type=content_type).value

    def request(self, name: str, payload: Any, *, content_type: str | None = None) -> Prediction:
        """Like `predict`, with status, content type and request id."""
        url = self.get(name).endpoint
        body, kind = _payload(payload, content_type)
        try:
            # Not through a proxy of the environment: the gateway is on this machine.
            with httpx.Client(timeout=None, trust_env=False) as http:
                return _prediction(name, http.post(url, content=body, headers={"content-type": kind}))
        except httpx.HTTPError as exc:
            raise PredictionFailed(f"{name} did not answer at {url}: {exc}") from exc

    def prune(self) -> dict[str, int]:
        """Remove what no API needs. Returns the bytes freed, by folder of the home."""
        return self._send(_prune())

    def shut_down(self, mode: Literal["down", "restart", "handover"] = "down", python: str | None = None) -> None:
        """End everything, or only the engine, for another to take over."""
        self._send(_shut_down(mode, python))

    def _send(self, call: _Call[T]) -> T:
        try:
            answer = self._http.request(
                call.method, call.path, json=call.json, params=call.params, headers=call.headers, timeout=call.timeout_s
            )
        except httpx.HTTPError as exc:
            raise _unavailable(exc) from exc
        _raise_for(answer)
        return call.read(answer.content)

    def _lines(self, path: str, params: Mapping[str, str], *, endless: bool) -> Iterator[str]:
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, read=None if endless else ANSWER_TIMEOUT_S)
        try:
            with self._http.stream("GET", path, params=params, timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    _raise_for(answer)
                yield from answer.iter_lines()
        except httpx.HTTPError as exc:
            raise _unavailable(exc) from exc

    def _events(self, name: str, *, logs: bool, since_s: int | None = None) -> Iterator[ApiStatus | LogLine | None]:
        events = _Events()
        for line in self._lines(_api(name, "/watch"), _watch_params(logs=logs, since_s=since_s), endless=True):
            yield events.feed(line)


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(self, *, socket: Path | None = None) -> None:
        path, self._cache_file = _settings(socket)
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=ANSWER_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def status(self) -> Status:
        """See `Client.status`."""
        return await self._send(_status())

    async def list(self) -> list[ApiStatus]:
        """See `Client.list`."""
        return await self._send(_list())

    async def get(self, name: str) -> ApiStatus:
        """See `Client.get`."""
        return await self._send(_get(name))

    async def deploy(
        self,
        *paths: str | Path,
        names: Sequence[str] | None = None,
        dry_run: bool = False,
        wait: bool = True,
        timeout_s: float | None = None,
        on_progress: OnProgress = _silent,
    ) -> Sequence[DeployResult]:
        """See `Client.deploy`. While files are read and sent, `on_progress` is called in a thread."""
        steps = _Deploy(paths, names, dry_run, os.environ, self._cache_file, on_progress).steps()
        step = await asyncio.to_thread(_advance, steps, None)  # a step may read gigabytes
        while isinstance(step, _Call):
            step = await asyncio.to_thread(_advance, steps, await self._send(step))
        results = step
        if dry_run or not wait:
            return results
        return [await self.wait(result, timeout_s=timeout_s, on_progress=on_progress) for result in results]

    async def wait(
        self, result: DeployResult, *, timeout_s: float | None = None, on_progress: OnProgress = _silent
    ) -> DeployResult:
        """See `Client.wait`."""
        waiting = _Waiting(result, timeout_s, on_progress, time.monotonic())
        async for event in self._events(result.name, logs=True, since_s=1):
            decided = waiting.see(event, time.monotonic())
            if decided is not None:
                return decided
        raise DeployFailed(f"{result.name} was deleted")

    async def watch(self, name: str, *, logs: bool = False) -> AsyncIterator[ApiStatus | LogLine]:
        """See `Client.watch`."""
        async for event in self._events(name, logs=logs):
            if event is not None:
                yield event

    async def logs(
        self,
        name: str,
        *,
        replica: str | None = None,
        since: str | None = None,
        request_id: str | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        """See `Client.logs`."""
        params = _log_params(replica, since, request_id, follow=follow)
        async for line in self._lines(_api(name, "/logs"), params, endless=follow):
            if line.strip():
                yield _log_line(line)

    async def start(self, name: str) -> ApiStatus:
        """See `Client.start`."""
        return await self._send(_change(name, "start"))

    async def stop(self, name: str) -> ApiStatus:
        """See `Client.stop`."""
        return await self._send(_change(name, "stop"))

    async def delete(self, name: str) -> ApiStatus:
        """See `Client.delete`."""
        return await self._send(_delete(name))

    async def predict(self, name: str, payload: Any, *, content_type: str | None = None) -> Any:
        """See `Client.predict`."""
        return (await self.request(name, payload, content_type=content_type)).value

    async def request(self, name: str, payload: Any, *, content_type: str | None = None) -> Prediction:
        """See `Client.request`."""
        url = (await self.get(name)).endpoint
        body, kind = _payload(payload, content_type)
        try:
            async with httpx.AsyncClient(timeout=None, trust_env=False) as http:
                return _prediction(name, await http.post(url, content=body, headers={"content-type": kind}))
        except httpx.HTTPError as exc:
            raise PredictionFailed(f"{name} did not answer at {url}: {exc}") from exc

    async def prune(self) -> dict[str, int]:
        """See `Client.prune`."""
        return await self._send(_prune())

    async def shut_down(self, mode: Literal["down", "restart", "handover"] = "down", python: str | None = None) -> None:
        """See `Client.shut_down`."""
        await self._send(_shut_down(mode, python))

    async def _send(self, call: _Call[T]) -> T:
        try:
            answer = await self._http.request(
                call.method, call.path, json=call.json, params=call.params, headers=call.headers, timeout=call.timeout_s
            )
        except httpx.HTTPError as exc:
            raise _unavailable(exc) from exc
        _raise_for(answer)
        return call.read(answer.content)

    async def _lines(self, path: str, params: Mapping[str, str], *, endless: bool) -> AsyncIterator[str]:
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, read=None if endless else ANSWER_TIMEOUT_S)
        try:
            async with self._http.stream("GET", path, params=params, timeout=timeout) as answer:
                if not answer.is_success:
                    await answer.aread()
                    _raise_for(answer)
                async for line in answer.aiter_lines():
                    yield line
        except httpx.HTTPError as exc:
            raise _unavailable(exc) from exc

    async def _events(
        self, name: str, *, logs: bool, since_s: int | None = None
    ) -> AsyncIterator[ApiStatus | LogLine | None]:
        events = _Events()
        async for line in self._lines(_api(name, "/watch"), _watch_params(logs=logs, since_s=since_s), endless=True):
            yield events.feed(line)


def _watch_params(*, logs: bool, since_s: int | None) -> dict[str, str]:
    since = {} if since_s is None else {"since": f"{since_s}s"}
    return {"logs": "1", **since} if logs else {}


def _log_line(text: str) -> LogLine:
    """Raises the error that the engine put at the end of a stream."""
    found = json.loads(text)
    if "error" in found and "replica" not in found:
        raise from_dict(found["error"])
    return LogLine.model_validate(found)
