"""The route table: which path leads to which replicas, and under which limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from hatchway.errors import Conflict
from hatchway.spec.api import Cors


@dataclass(frozen=True)
class Endpoint:
    """One replica as an address. A draining one is listed, gets no new request, and shows its in-flight count."""

    address: str  # path of a unix socket, or HOST:PORT with an IP address
    is_draining: bool = False
    revision: str = ""  # that it runs, for those who count


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
    # How many requests may wait for a replica while there is none: what the first one to come up can take at once,
    # max_concurrency + max_queue_length. 0: none will come up (it is stopped, or has failed), so 503 at once.
    max_held: int = 0


@dataclass(frozen=True)
class RouteTable:
    """Everything the gateway serves. The empty table answers 404 to all.

    Raises Conflict when two APIs claim one endpoint, or one API is listed twice.
    """

    routes: tuple[Route, ...] = field(default=())

    def __post_init__(self) -> None:
        by_endpoint: dict[str, str] = {}
        for route in self.routes:
            other = by_endpoint.setdefault(route.endpoint, route.api)
            if other != route.api:
                raise Conflict(
                    f"the APIs {other} and {route.api} both claim the endpoint {route.endpoint}",
                    hint="give one of them another networking.endpoint",
                )
        if len({route.api for route in self.routes}) != len(self.routes):
            raise Conflict("an API is listed twice in the route table")
