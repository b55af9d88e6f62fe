"""What can be asked of the engine, written once for both clients: requests, and how their answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

from hatchway.client.connection import ANSWER_TIMEOUT_S, raise_for
from hatchway.client.events import Deleted, Events, log_line
from hatchway.spec.alerts import AlertStatus, AlertTest
from hatchway.spec.monitoring import AcceptedChange, MonitoringReport
from hatchway.spec.requests import AcceptRequest, RollbackRequest, ScaleRequest
from hatchway.spec.status import ApiStatus, DeployResult, HistoryEntry, LogLine, ScalingStep, Status
from hatchway.spec.story import RequestStory
from hatchway.spec.timeline import Sparkline, Timeline

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M", bound=BaseModel)

LONG_TIMEOUT_S = 3600.0  # for what moves gigabytes


@dataclass(frozen=True)
class Content:
    """A body that is read while it is sent."""

    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request that has one answer. Its body is `json`, or `content`."""

    method: str
    path: str
    read: Callable[[bytes], T]
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = ANSWER_TIMEOUT_S
    content: Content | None = None

    def result(self, status: int, body: bytes) -> T:
        """Raises the error that the answer tells of."""
        raise_for(status, body)
        return self.read(body)


@dataclass(frozen=True)
class Stream(Generic[T_co]):
    """One request whose answer comes line by line. `read` makes an item of a line, or None when it says nothing yet."""

    path: str
    read: Callable[[str], T_co | None]
    params: Mapping[str, str]
    is_endless: bool


def one(model: type[M]) -> Callable[[bytes], M]:
    return model.model_validate_json


def many(model: type[M]) -> Callable[[bytes], list[M]]:
    return TypeAdapter(list[model]).validate_json  # type: ignore[valid-type]


def status() -> Call[Status]:
    return Call("GET", "/v1/status", one(Status))


def list_apis() -> Call[list[ApiStatus]]:
    return Call("GET", "/v1/apis", many(ApiStatus))


def get(name: str) -> Call[ApiStatus]:
    return Call("GET", _api(name), one(ApiStatus))


def change(name: str, verb: Literal["start", "stop"]) -> Call[ApiStatus]:
    return Call("POST", _api(name, f"/{verb}"), one(ApiStatus))


def restart(name: str) -> Call[DeployResult]:
    return Call("POST", _api(name, "/restart"), one(DeployResult))


def rollback(name: str, to: str | None) -> Call[DeployResult]:
    request = RollbackRequest(to=to)
    return Call("POST", _api(name, "/rollback"), one(DeployResult), json=request.model_dump(), timeout_s=LONG_TIMEOUT_S)


def scale(name: str, replicas: int | None, for_s: float) -> Call[ApiStatus]:
    request = ScaleRequest(replicas=replicas, for_s=for_s)
    return Call("POST", _api(name, "/scale"), one(ApiStatus), json=request.model_dump())


def history(name: str) -> Call[list[HistoryEntry]]:
    return Call("GET", _api(name, "/history"), many(HistoryEntry))


def scaling(name: str) -> Call[list[ScalingStep]]:
    return Call("GET", _api(name, "/scaling"), many(ScalingStep))


def request(request_id: str) -> Call[RequestStory]:
    return Call("GET", f"/v1/requests/{quote(request_id, safe='')}", one(RequestStory))


def timeline(name: str, window_s: float) -> Call[Timeline]:
    return Call("GET", _api(name, f"/timeline?window={age(window_s)}"), one(Timeline))


def timelines() -> Call[dict[str, Sparkline]]:
    return Call("GET", "/v1/timelines", TypeAdapter(dict[str, Sparkline]).validate_json)


def alerts() -> Call[list[AlertStatus]]:
    return Call("GET", "/v1/alerts", many(AlertStatus))


def test_alert(name: str) -> Call[AlertTest]:
    return Call("POST", _api(name, "/alerts/test"), one(AlertTest))


def monitoring(name: str, window_s: float) -> Call[MonitoringReport]:
    return Call("GET", _api(name, f"/monitoring?window={age(window_s)}"), one(MonitoringReport))


def accept(name: str, fields: Sequence[str] | None) -> Call[AcceptedChange]:
    return _accept(name, AcceptRequest(fields=None if fields is None else tuple(fields)))


def undo_accept(name: str) -> Call[AcceptedChange]:
    return _accept(name, AcceptRequest(undo=True))


def _accept(name: str, request: AcceptRequest) -> Call[AcceptedChange]:
    return Call("POST", _api(name, "/monitoring/accept"), one(AcceptedChange), json=request.model_dump(mode="json"))


def delete(name: str) -> Call[ApiStatus]:
    return Call("DELETE", _api(name), one(ApiStatus))


def prune() -> Call[dict[str, int]]:
    return Call("POST", "/v1/prune", lambda body: dict(json.loads(body)), timeout_s=LONG_TIMEOUT_S)


def shut_down(mode: str, python: str | None) -> Call[None]:
    return Call("POST", "/v1/shutdown", lambda _: None, json={"mode": mode, "python": python})


def dashboard_link() -> Call[str]:
    return Call("POST", "/v1/dashboard/links", lambda body: str(json.loads(body)["url"]))


def watch(name: str, *, logs: bool, since_s: float) -> Stream[ApiStatus | LogLine | Deleted]:
    """`since_s`: with log lines that are so old already."""
    params = {"logs": "1", "since": age(since_s)} if logs else {}
    return Stream(_api(name, "/watch"), Events().feed, params, is_endless=True)


@dataclass(frozen=True)
class LogFilters:
    """Which lines of a log are wanted, as the control API reads it. `since` and `until`: an age or a moment.

    `max_bytes`: only the newest that take so much.
    """

    replica: str | None = None
    revision: str | None = None
    request_id: str | None = None
    since: str | None = None
    until: str | None = None
    level: str | None = None
    text: str | None = None
    max_bytes: int | None = None


def logs(name: str, filters: LogFilters, *, follow: bool) -> Stream[LogLine]:
    params = {key: str(value) for key, value in asdict(filters).items() if value is not None}
    return Stream(_api(name, "/logs"), log_line, params | ({"follow": "1"} if follow else {}), is_endless=follow)


def age(seconds: float) -> str:
    """As the control API reads it."""
    return f"{max(0.0, seconds):.3f}s"


def _api(name: str, verb: str = "") -> str:
    return f"/v1/apis/{quote(name, safe='')}{verb}"
