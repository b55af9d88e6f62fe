"""The route table: which path leads to which replicas, and under which limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from hatchway.spec.api import Cors


@dataclass(frozen=True)
class Endpoint:
    """One replica as an address. A draining one is listed, gets no new request, and shows its in-flight count."""

    address: str  # path of a unix socket
    is_draining: bool = False


@dataclass(frozen=True)
class Route:
    """One API as the gateway sees it."""

    api: str
    endpoint: str  # "/iris": leading slash, no trailing one; matched on whole segments, longest first, stripped
    endpoints: tuple[Endpoint, ...] = ()
    timeout_s: float = 60.0  # handler.timeout; Envoy's dead man's switch is 5 s later
    stream_idle_timeout_s: float = 300.0
    max_body_bytes: int = 100 * 1024 * 1024
    cors: Cors | None = None
    idempotent: bool = False


@dataclass(frozen=True)
class RouteTable:
    """Everything the gateway serves. The empty table answers 404 to all."""

    routes: tuple[Route, ...] = field(default=())
