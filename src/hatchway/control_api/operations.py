"""Every operation of the control API in one table: the routes are made from it, and so is the OpenAPI document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hatchway import __version__
from hatchway.control_api.plane import ShutdownMode
from hatchway.spec.alerts import AlertStatus, AlertTest
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.monitoring import AcceptedChange, MonitoringReport
from hatchway.spec.requests import HEADER_BY, AcceptRequest, RollbackRequest, ScaleRequest
from hatchway.spec.status import ApiStatus, DeployResult, HistoryEntry, LogLine, ScalingStep, Status
from hatchway.spec.story import RequestStory
from hatchway.spec.summary import Summaries
from hatchway.spec.timeline import Sparkline, Timeline
from hatchway.spec.trial import TrialAnswer, TrialRequest

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_BLOB_PATHS = 1000  # in one request


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BlobHashes(Body):
    """SHA-256 of files' contents, 64 lower-case hexadecimal digits each."""

    hashes: tuple[str, ...]


class MissingBlobs(Body):
    missing: tuple[str, ...]


class BlobPaths(Body):
    """Files of this machine by the SHA-256 of their content; absolute paths, percent-encoded."""

    paths: Annotated[dict[str, str], Field(max_length=MAX_BLOB_PATHS)]


class ShutdownRequest(Body):
    """`down` ends everything, `restart` and `handover` (to the interpreter `python`) only the engine."""

    mode: ShutdownMode
    python: str | None = None


class Answer(Body):
    """Nothing more to say than that it was done."""

    ok: bool = True


class DashboardLink(Body):
    """Lets one browser in, once, within ten minutes."""

    url: str


class ErrorBody(Body):
    kind: str
    message: str
    hint: str | None = None
    problems: tuple[str, ...] = ()
    id: str | None = None


class ErrorAnswer(Body):
    """The answer of every operation that failed."""

    error: ErrorBody


@dataclass(frozen=True)
class Operation:
    """One method of one path. `name` is the method of `app.Endpoints` that answers it."""

    name: str
    method: str
    path: str
    summary: str
    answer: Any = None  # a type; None for a JSON document of any shape
    body: type[BaseModel] | None = None
    query: tuple[tuple[str, str], ...] = ()  # name, what it does
    media_type: str = "application/json"
    raw_body: bool = False


_LIMIT = ("limit", "not more than so many")
_SINCE = ("since", "only lines from then on: an age like 10m, or a moment like 2026-01-31T12:00:00Z")
_LOG_FILTERS = (
    ("replica", "only of this replica"),
    ("revision", "only of this revision"),
    ("request_id", "only of the request with this x-request-id"),
    ("level", "only of this level and above: debug, info, warning, error"),
    ("text", "only lines whose message holds this; in any case when it has no capitals"),
    _SINCE,
    ("until", "only lines before then; written like since"),
    ("max_bytes", "not more than that: the newest lines that fit; with follow, the answer ends when it is full"),
)

OPERATIONS = (
    Operation("status", "GET", "/v1/status", "The engine, the gateway, and how much there is of what", Status),
    Operation("list_apis", "GET", "/v1/apis", "All APIs", tuple[ApiStatus, ...]),
    Operation("get_api", "GET", "/v1/apis/{name}", "Everything about one API", ApiStatus),
    Operation(
        "watch_api",
        "GET",
        "/v1/apis/{name}/watch",
        "Server-sent events: `status` (ApiStatus) now and on change, `log` (LogLine), `deleted` at the end, `error`",
        ApiStatus,
        query=(("logs", "1: with new log lines"), _SINCE),
        media_type="text/event-stream",
    ),
    Operation(
        "watch_apis",
        "GET",
        "/v1/watch",
        "Server-sent events: `apis` (Summaries), all APIs now, and then those that changed; `error`",
        Summaries,
        media_type="text/event-stream",
    ),
    Operation(
        "try_api",
        "POST",
        "/v1/apis/{name}/request",
        "Send one request to an API through the gateway; bounded in size and time",
        TrialAnswer,
        TrialRequest,
    ),
    Operation(
        "logs",
        "GET",
        "/v1/apis/{name}/logs",
        "Log lines, oldest first, one JSON object a line; a last line with `error` when reading failed",
        LogLine,
        query=(*_LOG_FILTERS, ("follow", "1: wait for more")),
        media_type="application/x-ndjson",
    ),
    Operation("request", "GET", "/v1/requests/{id}", "What became of the request with this x-request-id", RequestStory),
    Operation("alerts", "GET", "/v1/alerts", "Alerts that go on, of all APIs", tuple[AlertStatus, ...]),
    Operation(
        "test_alert", "POST", "/v1/apis/{name}/alerts/test", "Post a message for trying to the webhook", AlertTest
    ),
    Operation("start", "POST", "/v1/apis/{name}/start", "Run what was stopped, or try again what failed", ApiStatus),
    Operation("stop", "POST", "/v1/apis/{name}/stop", "Let the replicas drain and end; keep the API", ApiStatus),
    Operation(
        "restart",
        "POST",
        "/v1/apis/{name}/restart",
        "Replace all replicas by new ones of the same revision, new before old",
        DeployResult,
    ),
    Operation(
        "rollback",
        "POST",
        "/v1/apis/{name}/rollback",
        "Make an earlier revision the wanted one",
        DeployResult,
        RollbackRequest,
    ),
    Operation(
        "scale",
        "POST",
        "/v1/apis/{name}/scale",
        "So many replicas for a while, whatever the load",
        ApiStatus,
        ScaleRequest,
    ),
    Operation(
        "history",
        "GET",
        "/v1/apis/{name}/history",
        "Who did what to an API and what became of it, newest first",
        tuple[HistoryEntry, ...],
        query=(_LIMIT,),
    ),
    Operation(
        "scaling",
        "GET",
        "/v1/apis/{name}/scaling",
        "What the autoscaler decided and why, newest first",
        tuple[ScalingStep, ...],
        query=(_LIMIT,),
    ),
    Operation(
        "timeline",
        "GET",
        "/v1/apis/{name}/timeline",
        "How an API was over the last while, step by step",
        Timeline,
        query=(("window", "how far back: 15m, by default, or 1h at most"),),
    ),
    Operation("timelines", "GET", "/v1/timelines", "Requests of each API that was not at rest", dict[str, Sparkline]),
    Operation(
        "monitoring",
        "GET",
        "/v1/apis/{name}/monitoring",
        "What inputs and outputs were like, and whether that differs from the baseline",
        MonitoringReport,
        query=(("window", "of the time until now: 30m, 1h (the default), 7d"),),
    ),
    Operation(
        "accept",
        "POST",
        "/v1/apis/{name}/monitoring/accept",
        "Make what drifts the baseline of its fields, or take that back",
        AcceptedChange,
        AcceptRequest,
    ),
    Operation("delete", "DELETE", "/v1/apis/{name}", "Stop an API and forget it", ApiStatus),
    Operation("missing_blobs", "POST", "/v1/blobs/missing", "Which files must be uploaded", MissingBlobs, BlobHashes),
    Operation(
        "add_blob",
        "PUT",
        "/v1/blobs/{sha256}",
        "Upload a file by its hash",
        Answer,
        raw_body=True,
    ),
    Operation(
        "add_blob_contents",
        "POST",
        "/v1/blobs/contents",
        "Upload many files at once: before each content a line `SHA256 SIZE`",
        Answer,
        raw_body=True,
    ),
    Operation("add_blobs", "POST", "/v1/blobs", "Take files of this machine; unix socket only", Answer, BlobPaths),
    Operation("deploy", "POST", "/v1/deploy", "Make these APIs as described", tuple[DeployResult, ...], DeployRequest),
    Operation("prune", "POST", "/v1/prune", "Remove what no API needs; bytes freed by folder", dict[str, int]),
    Operation("shutdown", "POST", "/v1/shutdown", "End the engine", Answer, ShutdownRequest),
    Operation("dashboard_link", "POST", "/v1/dashboard/links", "A link that lets one browser in", DashboardLink),
    Operation("metrics", "GET", "/metrics", "All metrics, as Prometheus reads them", str, media_type=METRICS_TYPE),
    Operation("openapi", "GET", "/v1/openapi.json", "This document"),
)


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the control API."""
    shared: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    failed = _content("application/json", _schema(ErrorAnswer, shared))
    for operation in OPERATIONS:
        described: dict[str, Any] = {
            "operationId": operation.name,
            "summary": operation.summary,
            "parameters": _parameters(operation),
            "responses": {
                "200": {"description": "done", **_content(operation.media_type, _schema(operation.answer, shared))},
                "default": {"description": "failed", **failed},
            },
        }
        if operation.body is not None:
            described["requestBody"] = {
                "required": True,
                **_content("application/json", _schema(operation.body, shared)),
            }
        elif operation.raw_body:
            described["requestBody"] = _content("application/octet-stream", {})
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hatchway control API",
            "version": __version__,
            "description": f"A header `{HEADER_BY}` says who asks (user@host, percent-encoded), for the history.",
        },
        "paths": paths,
        "components": {"schemas": shared},
    }


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    return in_path + [
        {"name": name, "in": "query", "description": what, "schema": text} for name, what in operation.query
    ]


def _content(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": schema}}}


def _schema(answer: Any, shared: dict[str, Any]) -> dict[str, Any]:
    """The type's schema; models it refers to land in `shared`."""
    if answer is None:
        return {}
    schema = TypeAdapter(answer).json_schema(ref_template="#/components/schemas/{model}")
    shared.update(schema.pop("$defs", {}))
    if isinstance(answer, type) and issubclass(answer, BaseModel):
        shared[answer.__name__] = schema
        return {"$ref": f"#/components/schemas/{answer.__name__}"}
    return schema
