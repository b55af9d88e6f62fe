"""What gateways get, from the objects of a cluster: the same at every operator, with or without one that leads. Pure.

status.routing of a RealtimeAPI   how requests for it are treated; only the leader writes it
its pods                          where they go: ready, not about to go, and of their Deployment
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from hatchway.backends.kubernetes.pods import to_replica
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.kubernetes.resources import Json
from hatchway.spec.api import Cors


def to_routing(route: Route) -> Json:
    """For status.routing; its endpoints are the pods."""
    routing: Json = {
        "endpoint": route.endpoint,
        "timeoutSeconds": route.timeout_s,
        "streamIdleTimeoutSeconds": route.stream_idle_timeout_s,
        "maxBodyBytes": route.max_body_bytes,
        "idempotent": route.idempotent,
        "maxHeld": route.max_held,
    }
    if route.cors is not None:
        routing["cors"] = {_camel(name): value for name, value in route.cors.model_dump(mode="json").items()}
    return routing


def routing_of(resource: Json) -> Json | None:
    """What stands in it; None: the API is not to be routed."""
    found: Json | None = resource.get("status", {}).get("routing")
    return found


def to_route(api: str, routing: Json, pods: Iterable[Json]) -> Route | None:
    """None for what another release may have written: the API is served again when the leader has looked at it."""
    try:
        cors = routing.get("cors")
        return Route(
            api=api,
            endpoint=str(routing["endpoint"]),
            endpoints=tuple(sorted(filter(None, map(to_endpoint, pods)), key=lambda each: each.address)),
            timeout_s=float(routing["timeoutSeconds"]),
            stream_idle_timeout_s=float(routing["streamIdleTimeoutSeconds"]),
            max_body_bytes=int(routing["maxBodyBytes"]),
            cors=None if cors is None else Cors.model_validate({_snake(name): value for name, value in cors.items()}),
            idempotent=bool(routing["idempotent"]),
            max_held=int(routing["maxHeld"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError):
        return None


def to_endpoint(pod: Json) -> Endpoint | None:
    """None before it has an address.

    One that is not ready, or is about to go, is listed and gets nothing: so what is in flight there can be read, and
    the activator can ask it whether it is ready before the cluster knows.
    """
    replica = to_replica(pod)
    if not replica.address:
        return None
    return Endpoint(replica.address, is_draining=replica.state != "ready", revision=replica.revision)


def to_table(routes: Iterable[Route]) -> RouteTable:
    """Of two APIs that claim one endpoint, as they do for a moment when they swap theirs, the first has it."""
    chosen: dict[str, Route] = {}
    for route in sorted(routes, key=lambda each: each.api):
        chosen.setdefault(route.endpoint, route)
    return RouteTable(tuple(chosen.values()))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
