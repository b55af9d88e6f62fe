"""The control API as a Starlette application: requests in, calls on the control plane, JSON out. It decides nothing.

Every error leaves as `{"error": {kind, message, hint}}` with the status of its class; an unexpected one as 500 with
an id, under which the engine's log has the traceback.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, unquote_to_bytes

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hatchway.control_api.contents import split
from hatchway.control_api.operations import (
    METRICS_TYPE,
    OPERATIONS,
    Answer,
    BlobHashes,
    BlobPaths,
    DashboardLink,
    MissingBlobs,
    ShutdownRequest,
    openapi_document,
)
from hatchway.control_api.plane import ControlPlane, ShutdownMode
from hatchway.control_api.serving import Beside, serve
from hatchway.control_api.streams import Stream, as_events, as_lines, up_to
from hatchway.errors import HatchwayError, InvalidSpec, UsageError
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.logs import LEVELS, SMALLEST_LIMIT_BYTES, LogQuery, parse_moment
from hatchway.spec.requests import HEADER_BY, AcceptRequest, RollbackRequest, ScaleRequest
from hatchway.spec.trial import TrialRequest
from hatchway.spec.values import Wrong, parse_duration
from hatchway.store.trees import check_manifest

__all__ = ["Beside", "ControlPlane", "ShutdownMode", "make_app", "serve"]

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 64 * 1024 * 1024  # the manifest of some 300,000 files
PROBLEMS_SHOWN = 10
TIMELINE_WINDOW_S = 15 * 60.0
REPORT_WINDOW_S = 3600.0
LONGEST_BY = 200  # characters of user@host that are kept

Model = TypeVar("Model", bound=BaseModel)


def make_app(plane: ControlPlane, *, accepts_paths: bool = True) -> Starlette:
    """The application.

    `accepts_paths`: files and programs may be named by their path; only on a socket of this user's own.
    """
    endpoints = Endpoints(plane, accepts_paths=accepts_paths)
    return Starlette(
        routes=[Route(_pattern(one.path), getattr(endpoints, one.name), methods=[one.method]) for one in OPERATIONS],
        middleware=[Middleware(Errors)],
        exception_handlers={HTTPException: _no_such_route},
    )


class Endpoints:
    """One method per operation of the table."""

    def __init__(self, plane: ControlPlane, *, accepts_paths: bool) -> None:
        self._plane = plane
        self._accepts_paths = accepts_paths

    # --- reading -----------------------------------------------------------------------------------------
    async def status(self, request: Request) -> Response:
        return _answer(await self._plane.status())

    async def list_apis(self, request: Request) -> Response:
        return _answers(self._plane.list())

    async def get_api(self, request: Request) -> Response:
        return _answer(self._plane.get(request.path_params["name"]))

    async def watch_api(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._plane.get(name)  # an unknown API is a plain 404, not a stream that ends at once
        sources = [as_events("status", self._plane.watch(name), last="deleted")]
        if _flag(request, "logs"):
            since = _moment(request, "since") or time.time()
            lines = self._plane.logs(name, LogQuery(since=since), follow=True)
            sources.append(as_events("log", lines))
        return Stream(sources, media_type="text/event-stream", keep_alive=b": alive\n\n")

    async def watch_apis(self, request: Request) -> Response:
        events = as_events("apis", self._plane.watch_all())
        return Stream([events], media_type="text/event-stream", keep_alive=b": alive\n\n")

    async def try_api(self, request: Request) -> Response:
        trial = await _body(request, TrialRequest)
        return _answer(await self._plane.try_out(request.path_params["name"], trial))

    async def logs(self, request: Request) -> Response:
        name, query = request.path_params["name"], _log_query(request)
        self._plane.get(name)
        lines = self._plane.logs(name, query, follow=_flag(request, "follow"))
        if query.max_bytes is not None:
            lines = up_to(lines, query.max_bytes)
        return Stream([as_lines(lines)], media_type="application/x-ndjson", keep_alive=b"\n")

    async def history(self, request: Request) -> Response:
        return _answers(self._plane.history(request.path_params["name"])[: _count(request, "limit")])

    async def scaling(self, request: Request) -> Response:
        return _answers(self._plane.scaling(request.path_params["name"])[: _count(request, "limit")])

    async def alerts(self, request: Request) -> Response:
        return _answers(self._plane.alerts())

    async def timeline(self, request: Request) -> Response:
        window_s = _age(request, "window", TIMELINE_WINDOW_S)
        return _answer(self._plane.timeline(request.path_params["name"], window_s))

    async def timelines(self, request: Request) -> Response:
        content = TypeAdapter(dict[str, Any]).dump_json(dict(self._plane.timelines()))
        return Response(content, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        return Response(await self._plane.metrics(), media_type=METRICS_TYPE)

    async def request(self, request: Request) -> Response:
        return _answer(await self._plane.request(request.path_params["id"]))

    async def monitoring(self, request: Request) -> Response:
        window_s = _age(request, "window", REPORT_WINDOW_S)
        return _answer(await self._plane.monitoring(request.path_params["name"], window_s))

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(openapi_document())

    # --- writing -----------------------------------------------------------------------------------------
    async def test_alert(self, request: Request) -> Response:
        return _answer(await self._plane.test_alert(request.path_params["name"]))

    async def start(self, request: Request) -> Response:
        return _answer(await self._plane.start(request.path_params["name"], _by(request)))

    async def stop(self, request: Request) -> Response:
        return _answer(await self._plane.stop(request.path_params["name"], _by(request)))

    async def restart(self, request: Request) -> Response:
        return _answer(await self._plane.restart(request.path_params["name"], _by(request)))

    async def rollback(self, request: Request) -> Response:
        asked = await _body(request, RollbackRequest)
        return _answer(await self._plane.rollback(request.path_params["name"], asked.to, _by(request)))

    async def scale(self, request: Request) -> Response:
        asked = await _body(request, ScaleRequest)
        return _answer(await self._plane.scale(request.path_params["name"], asked, _by(request)))

    async def accept(self, request: Request) -> Response:
        asked = await _body(request, AcceptRequest)
        return _answer(await self._plane.accept(request.path_params["name"], asked, _by(request)))

    async def delete(self, request: Request) -> Response:
        return _answer(await self._plane.delete(request.path_params["name"]))

    async def missing_blobs(self, request: Request) -> Response:
        asked = await _body(request, BlobHashes)
        return _answer(MissingBlobs(missing=tuple(await self._plane.missing_blobs(asked.hashes))))

    async def add_blob(self, request: Request) -> Response:
        await self._plane.add_blob(request.path_params["sha256"], request.stream())
        return _answer(Answer())

    async def add_blob_contents(self, request: Request) -> Response:
        async for sha256, chunks in split(request.stream()):
            await self._plane.add_blob(sha256, chunks)
        return _answer(Answer())

    async def add_blobs(self, request: Request) -> Response:
        asked = await _body(request, BlobPaths)
        if not self._accepts_paths:
            raise UsageError("paths are accepted on the engine's own socket only", hint="send the content")
        await self._plane.add_blobs_from_paths({sha256: _to_path(text) for sha256, text in asked.paths.items()})
        return _answer(Answer())

    async def deploy(self, request: Request) -> Response:
        deploy = await _body(request, DeployRequest)
        for api in deploy.apis:
            check_manifest(api.source.files)
        return _answers(await self._plane.deploy(deploy, _by(request)))

    async def prune(self, request: Request) -> Response:
        return JSONResponse(await self._plane.prune())

    async def dashboard_link(self, request: Request) -> Response:
        return _answer(DashboardLink(url=self._plane.dashboard_link()))

    async def shutdown(self, request: Request) -> Response:
        asked = await _body(request, ShutdownRequest)
        if asked.mode == "handover" and not self._accepts_paths:
            raise UsageError("a handover names a program of this machine, on the engine's own socket only")
        self._plane.request_shutdown(asked.mode, asked.python)
        return _answer(Answer())


class Errors:
    """Turns what an endpoint raises into an answer; knows nothing of Starlette's own HTTPException."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.info("a client went away before its request was complete")
        except HatchwayError as exc:
            if started:
                raise
            await _error(exc.http_status, exc.to_dict())(scope, receive, send)
        except Exception:
            failure = uuid.uuid4().hex[:12]
            log.exception("%s %s failed, id %s", scope.get("method"), scope.get("path"), failure)
            if not started:
                unexpected = HatchwayError(f"the engine failed, id {failure}", hint="its log has the traceback")
                await _error(500, {**unexpected.to_dict(), "id": failure})(scope, receive, send)


def _pattern(path: str) -> str:
    """As Starlette writes it: callers choose the ids of requests, slashes included."""
    return path.replace("{id}", "{id:path}")


def _no_such_route(request: Request, exc: Exception) -> Response:
    status, detail = (exc.status_code, exc.detail) if isinstance(exc, HTTPException) else (500, "failed")
    kind = "not_found" if status == 404 else "usage"
    return _error(status, {"kind": kind, "message": f"{request.method} {request.url.path}: {detail}", "hint": None})


def _error(status: int, error: dict[str, object]) -> JSONResponse:
    return JSONResponse({"error": error}, status)


def _answer(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


def _answers(models: Iterable[BaseModel]) -> Response:
    content = TypeAdapter(list[Any]).dump_json(list(models))
    return Response(content, media_type="application/json")


async def _body(request: Request, model: type[Model]) -> Model:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_JSON_BYTES:
            raise InvalidSpec(
                f"the request is larger than {MAX_JSON_BYTES >> 20} MiB", hint="deploy fewer files at once"
            )
    try:
        return model.model_validate_json(bytes(content))
    except ValidationError as exc:
        raise UsageError(f"the body is not a {model.__name__}: {_problems(exc)}") from None


def _problems(exc: ValidationError) -> str:
    """Where and what, but never the value: it may be a secret."""
    found = exc.errors(include_input=False, include_url=False, include_context=False)[:PROBLEMS_SHOWN]
    return "; ".join(": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"]))) for one in found)


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "") in ("1", "true")


def _by(request: Request) -> str:
    """Who asks, as the client says."""
    return "".join(filter(str.isprintable, unquote(request.headers.get(HEADER_BY, ""))))[:LONGEST_BY]


def _age(request: Request, name: str, default_s: float) -> float:
    """`?window=10m` in seconds."""
    written = request.query_params.get(name)
    if not written:
        return default_s
    try:
        return parse_duration(written)
    except Wrong:
        raise UsageError(f"{name}={written[:40]} is not an age", hint="write it like 30s, 10m or 2h") from None


def _log_query(request: Request) -> LogQuery:
    given = request.query_params
    level = given.get("level", "").lower() or None
    if level not in (None, *LEVELS):
        raise UsageError(f"level={level[:40]} is not a level", hint=f"one of {', '.join(LEVELS)}")
    if given.get("until") and _flag(request, "follow"):
        raise UsageError("what is followed has no end: until and follow do not go together")
    return LogQuery(
        replica=given.get("replica"),
        revision=given.get("revision"),
        request_id=given.get("request_id"),
        since=_moment(request, "since"),
        until=_moment(request, "until"),
        level=level,
        text=given.get("text") or None,
        max_bytes=_count(request, "max_bytes", SMALLEST_LIMIT_BYTES),
    )


def _count(request: Request, name: str, least: int = 1) -> int | None:
    """`?limit=20`; None when it is not given."""
    written = request.query_params.get(name)
    if not written:
        return None
    if not (written.isascii() and written.isdecimal()) or int(written[:12]) < least:
        raise UsageError(f"{name}={written[:40]} is not a number from {least} on")
    return int(written[:12])


def _moment(request: Request, name: str) -> float | None:
    """`?since=10m` or `?since=2026-01-31T12:00:00Z` as seconds since the epoch."""
    written = request.query_params.get(name)
    if not written:
        return None
    try:
        return parse_moment(written, time.time())
    except Wrong:
        raise UsageError(
            f"{name}={written[:40]} is neither an age nor a moment",
            hint="write it like 30s, 10m or 2h, or like 2026-01-31T12:00:00Z",
        ) from None


def _to_path(encoded: str) -> Path:
    path = Path(unquote_to_bytes(encoded).decode(errors="surrogateescape"))
    if not path.is_absolute() or "\0" in str(path):
        raise UsageError(f"{encoded[:80]!r} is not an absolute path")
    return path
