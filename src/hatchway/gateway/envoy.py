"""The route table as Envoy resources: plain dictionaries in Envoy's JSON form. Pure.

    RouteTable -> Resources: one listener, and for each API a cluster, its endpoints and its entry in the
                  route table (`assemble_route_configuration` joins the entries into one resource)

Settings that users edit live in the routes, so that clusters, which Envoy warms anew, hardly ever change.
Each number and switch here was measured; what it costs when it is missing stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hatchway.contract import (
    HEADER_API,
    HEADER_ENDPOINT,
    HEADER_HELD,
    HEADER_MAX_BODY,
    HEADER_ORIGIN,
    HEADER_OVERLOADED,
    HEADER_REQUEST_ID,
    MAX_REQUEST_ID_CHARS,
)
from hatchway.gateway.activator.terms import Terms
from hatchway.gateway.observing import NOTHING, Observing
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.gateway.served import HELD, ORIGIN, REVISION
from hatchway.spec.api import Cors

Json = dict[str, Any]

ROUTE_CONFIGURATION = "apis"
CLUSTER_PREFIX = "api:"

_TYPES = "type.googleapis.com/"
_MIB = 1024 * 1024

# Larger bodies are not kept for a retry: they stream through.
RETRY_BODY_BYTES = _MIB
# Overload is tried once more (the replica does not set its header on a second attempt); the rest is for replicas
# that could not be reached. A dead one has the fewest requests and is picked again until it is ejected, which takes
# a busy machine some milliseconds: five tries last about 15 ms, three lasted 3.
MAX_RETRIES = 5
# The replica enforces handler.timeout; Envoy cuts in this much later, should the replica be frozen.
DEAD_MANS_SWITCH_S = 5.0
# Envoy's own limits stay out of the way: admission is the replica's.
_UNLIMITED = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What the gateway accepts from any client, before it is known which API is meant."""

    request_headers_timeout_s: float = 30.0  # a half-sent request is cut after this
    idle_connection_s: float = 3600.0  # a connection without a request
    max_headers_kib: int = 60  # more: 431
    max_headers: int = 100  # more: 431


@dataclass(frozen=True)
class ApiResources:
    """What Envoy needs to know of one API, and what that was made of: its own route and those that it lies below."""

    routes: tuple[Route, ...]
    cluster: Json
    assignment: Json  # the cluster's endpoints
    match: Json

    @property
    def endpoint(self) -> str:
        """The key of `match` in the route table."""
        return self.routes[0].endpoint


@dataclass(frozen=True)
class Resources:
    """Everything Envoy is told. The listener's name holds its address: a change makes a new one beside the old."""

    listener: Json
    apis: Mapping[str, ApiResources]


def make_resources(  # noqa: PLR0913 (keywords, each a part of what Envoy is told)
    table: RouteTable,
    *,
    host: str,
    port: int,
    activator: str,
    limits: Limits | None = None,
    observing: Observing = NOTHING,
    former: Resources | None = None,
) -> Resources:
    """`host` is an IP address, `port` is not 0, `activator` is the path of its socket.

    What did not change since `former`, made with the same activator, is taken from it: one API moves at a time, and
    there may be a thousand.
    """
    by_endpoint = {route.endpoint: route for route in table.routes}
    known = {} if former is None else former.apis
    apis = {}
    for route in table.routes:
        routes = tuple(found for path in _paths_upwards(route.endpoint) if (found := by_endpoint.get(path)))
        made = known.get(route.api)
        apis[route.api] = made if made is not None and made.routes == routes else _make_api(routes, activator)
    return Resources(listener=make_listener(host, port, limits or Limits(), observing), apis=apis)


def _make_api(routes: tuple[Route, ...], activator: str) -> ApiResources:
    own = routes[0]
    return ApiResources(
        routes=routes,
        cluster=make_cluster(own.api),
        assignment=make_assignment(own.api, own.endpoints, activator if own.max_held else None),
        match=_make_match(routes),
    )


def cluster_name(api: str) -> str:
    return CLUSTER_PREFIX + api


# --- routes --------------------------------------------------------------------------------------------------
def assemble_route_configuration(matches: Mapping[str, Json]) -> Json:
    """The route table from its entries by endpoint.

    A trie over the endpoints finds the entry: a thousand routes in a row would be a thousand comparisons.
    """
    virtual_host: Json = {
        "name": "apis",
        "domains": ["*"],
        "include_request_attempt_count": True,
        "request_headers_to_remove": [HEADER_HELD],  # only the activator may say it
        "request_body_buffer_limit": RETRY_BODY_BYTES,
        "retry_policy": _retry_policy(idempotent=False),
    }
    if matches:
        virtual_host["matcher"] = {
            "matcher_tree": {
                "input": {
                    "name": "path",
                    "typed_config": {
                        "@type": _TYPES + "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                        "header_name": ":path",
                    },
                },
                "prefix_match_map": {"map": dict(matches)},
            }
        }
    return {
        "@type": _TYPES + "envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIGURATION,
        "virtual_hosts": [virtual_host],
    }


def _make_match(routes: tuple[Route, ...]) -> Json:
    """The entry of one endpoint: its own routes, then those of the endpoints it lies below.

    The trie compares characters, not segments, and does not step back: `/a/bc` ends in the entry of `/a/b`,
    where the routes of `/a` must stand too.
    """
    return {
        "action": {
            "name": routes[0].api,
            "typed_config": {
                "@type": _TYPES + "envoy.config.route.v3.RouteList",
                "routes": [document for each in routes for document in _make_routes(each)],
            },
        }
    }


def _paths_upwards(endpoint: str) -> Iterable[str]:
    path = endpoint
    while path != "/":
        yield path
        path = path.rpartition("/")[0] or "/"
    yield "/"


def _make_routes(route: Route) -> list[Json]:
    """The declared length is checked first; then the endpoint itself, and what lies below it, lose the prefix."""
    extras: Json = {
        "name": route.api,  # under which its requests are counted
        "request_headers_to_add": [
            # Always, also where nothing is held: else a client could say it, in the moment before a route is changed.
            _header(HEADER_API, _literal(_terms(route))),
            # What users edit and replicas act on goes with each request: it changes in place, without a new replica.
            _header(HEADER_ENDPOINT, _literal(route.endpoint)),
            _header(HEADER_MAX_BODY, str(route.max_body_bytes)),
        ],
        # The endpoint's own word, so that no handler can claim it and Envoy's own answers do not have it.
        "response_headers_to_add": [_header(HEADER_ORIGIN, f"%UPSTREAM_METADATA({ORIGIN}:{ORIGIN})%")],
    }
    if route.cors is not None:
        extras["typed_per_filter_config"] = {"envoy.filters.http.cors": _cors_policy(route.cors)}
    action = _forward(route)
    if route.endpoint == "/":
        return [*_refuse_large(route), {"match": {"prefix": "/"}, "route": action, **extras}]
    stripped = {**action, "prefix_rewrite": "/"}
    return [
        *_refuse_large(route),
        {"match": {"path": route.endpoint}, "route": stripped, **extras},
        {"match": {"prefix": route.endpoint + "/"}, "route": stripped, **extras},
    ]


def _header(name: str, value: str) -> Json:
    """In place of what a client or a handler may have sent under this name."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _literal(text: str) -> str:
    """What a user wrote is no format of Envoy's, which tells of requests, files and Envoy's environment."""
    return text.replace("%", "%%")


def _terms(route: Route) -> str:
    return Terms(route.api, route.max_held, route.timeout_s or math.inf).to_header()


def _refuse_large(route: Route) -> list[Json]:
    """413 by the declared length. Bodies of unknown length are counted by the replica: here they would be buffered.

    Envoy's CORS filter leaves out answers like this one, so there is one more of it for each allowed origin.
    """
    length = {"name": "content-length", "range_match": {"start": route.max_body_bytes + 1, "end": 2**63 - 1}}
    message = f"the body is larger than the {route.max_body_bytes} bytes this API accepts"
    plain: Json = {
        "name": route.api,
        "match": {**_on_or_below(route.endpoint), "headers": [length]},
        "direct_response": {"status": 413, "body": {"inline_string": message}},
    }
    if route.cors is None:
        return [plain]
    headers = [{"header": {"key": key, "value": value}} for key, value in _cors_headers(route.cors).items()]
    for_pages = [
        {
            **plain,
            "match": {**_on_or_below(route.endpoint), "headers": [length, _from_origin(origin)]},
            "response_headers_to_add": headers,
        }
        for origin in route.cors.allow_origins
    ]
    return [*for_pages, plain]


def _from_origin(origin: str) -> Json:
    if origin == "*":
        return {"name": "origin", "present_match": True}
    return {"name": "origin", "string_match": {"exact": origin}}


def _cors_headers(cors: Cors) -> dict[str, str]:
    headers = {"access-control-allow-origin": "%REQ(origin)%"}
    if cors.allow_credentials:
        headers["access-control-allow-credentials"] = "true"
    if cors.expose_headers:
        headers["access-control-expose-headers"] = ", ".join(cors.expose_headers)
    return headers


def _on_or_below(endpoint: str) -> Json:
    return {"prefix": "/"} if endpoint == "/" else {"path_separated_prefix": endpoint}


def _forward(route: Route) -> Json:
    """Where a request goes, and how long Envoy waits.

    `timeout` would cut streams, so it is off. Until the first byte the try's timeout is the dead man's switch; it
    ends when the response begins, so the idle timeout may be as long as streams need.
    """
    action: Json = {"cluster": cluster_name(route.api), "timeout": "0s"}
    if not route.timeout_s or not route.stream_idle_timeout_s:
        action["idle_timeout"] = "0s"  # one of them is switched off
    else:
        action["idle_timeout"] = _seconds(max(route.timeout_s + DEAD_MANS_SWITCH_S, route.stream_idle_timeout_s))
    if route.timeout_s or route.idempotent:
        action["retry_policy"] = _retry_policy(idempotent=route.idempotent, timeout_s=route.timeout_s)
    return action


def _retry_policy(*, idempotent: bool, timeout_s: float = 0.0) -> Json:
    """Another replica is tried when the request surely did not start: refused, or never sent.

    `reset` also replays what a dying replica had begun: only for APIs that allow it. Envoy's default backoff of
    25 ms would make a refusal by all replicas take 115 ms.
    """
    conditions = ["connect-failure", "refused-stream", "reset-before-request", "retriable-headers"]
    policy: Json = {
        "retry_on": ",".join([*conditions, "reset"] if idempotent else conditions),
        "num_retries": MAX_RETRIES,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.025s"},
        "retriable_headers": [{"name": HEADER_OVERLOADED, "present_match": True}],
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": _TYPES + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        # Each pick is made anew, and of two idle replicas it is the former one half of the time: 5 picks were too few.
        "host_selection_retry_max_attempts": 30,
    }
    if timeout_s:
        policy["per_try_timeout"] = _seconds(timeout_s + DEAD_MANS_SWITCH_S)
    return policy


def _cors_policy(cors: Cors) -> Json:
    return {
        "@type": _TYPES + "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in cors.allow_origins],
        "allow_methods": ", ".join(cors.allow_methods),
        "allow_headers": ", ".join(cors.allow_headers),
        "expose_headers": ", ".join(cors.expose_headers),
        "allow_credentials": cors.allow_credentials,
        "max_age": str(int(cors.max_age)),
    }


# --- clusters and endpoints ----------------------------------------------------------------------------------
def make_cluster(api: str) -> Json:
    """The group of an API's replicas. Holds nothing that a user edits."""
    return {
        "@type": _TYPES + "envoy.config.cluster.v3.Cluster",
        "name": cluster_name(api),
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _from_ads()},
        "connect_timeout": "1s",
        # Two random choices (the default) send twice as much to a slow replica as a look at all of them.
        "load_balancing_policy": {
            "policies": [
                {
                    "typed_extension_config": {
                        "name": "envoy.load_balancing_policies.least_request",
                        "typed_config": {
                            "@type": _TYPES + "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
                            "selection_method": "FULL_SCAN",
                        },
                    }
                }
            ]
        },
        "common_lb_config": {
            # Default 50: once half of the replicas are gone, dead ones get traffic.
            "healthy_panic_threshold": {"value": 1},
            # Default 1 s: a replica that is ejected again gets requests for a second.
            "update_merge_window": "0s",
        },
        "outlier_detection": _outlier_detection(),
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _UNLIMITED,
                    "max_pending_requests": _UNLIMITED,
                    "max_requests": _UNLIMITED,
                    "max_retries": _UNLIMITED,  # default 3: hides retries just when they are needed
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                # Shorter than the replicas' own: they never close a connection that is about to be used.
                "common_http_protocol_options": {"idle_timeout": "60s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _outlier_detection() -> Json:
    """Only a replica that cannot be reached, or breaks connections, is left out for a while.

    What it answers says nothing: a busy one answers 503, and a handler's own mistakes are 500s.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 1,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "1s",
        "max_ejection_time": "5s",
        "max_ejection_percent": 100,
    }


def make_assignment(api: str, endpoints: Iterable[Endpoint], activator: str | None) -> Json:
    """The endpoints of an API's cluster: its replicas, and the activator for when none of them can be reached.

    Priority 1 gets what priority 0 cannot take. With this factor one living replica of a thousand can take all of it,
    so that the activator gets nothing while one lives and everything when none does, without a word from us.
    """
    by_address = sorted(endpoints, key=lambda each: each.address)
    replicas: Json = {"lb_endpoints": [_lb_endpoint(each, "replica", each.revision) for each in by_address]}
    assignment: Json = {
        "@type": _TYPES + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster_name(api),
        "endpoints": [replicas],
    }
    if activator is not None:
        assignment["endpoints"].append(
            {"priority": 1, "lb_endpoints": [_lb_endpoint(Endpoint(activator), "activator", HELD)]}
        )
        assignment["policy"] = {"overprovisioning_factor": 100_000}
    return assignment


def _lb_endpoint(endpoint: Endpoint, origin: str, revision: str) -> Json:
    """A draining endpoint stays listed, so that its in-flight count can still be read."""
    document: Json = {
        "endpoint": {"address": _address(endpoint.address)},
        "metadata": {"filter_metadata": {ORIGIN: {ORIGIN: origin, REVISION: revision}}},
    }
    if endpoint.is_draining:
        document["health_status"] = "DRAINING"
    return document


def _address(address: str) -> Json:
    if "/" in address:
        return {"pipe": {"path": address}}
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


# --- listener ------------------------------------------------------------------------------------------------
def listener_name(host: str, port: int) -> str:
    return f"http:{host}:{port}"


def listener_at(listener: Json, host: str) -> Json:
    """The same listener on another address: in a cluster each Envoy listens on that of its own pod."""
    port = listener["address"]["socket_address"]["port_value"]
    address = {"socket_address": {"address": host, "port_value": port}}
    return {**listener, "name": listener_name(host, port), "address": address}


def make_listener(host: str, port: int, limits: Limits, observing: Observing = NOTHING) -> Json:
    """The gateway's port."""
    return {
        "@type": _TYPES + "envoy.config.listener.v3.Listener",
        "name": listener_name(host, port),
        "address": {"socket_address": {"address": host, "port_value": port}},
        "enable_reuse_port": False,  # else a second Envoy shares the port in silence and takes half of the requests
        "per_connection_buffer_limit_bytes": _MIB,
        "socket_options": _tcp_keepalive(),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {**_connection_manager(limits), **observing.to_manager()},
                    }
                ]
            }
        ],
    }


def _tcp_keepalive() -> list[Json]:
    """Clients that vanished without a word are noticed after two minutes. Linux's numbers of the options."""
    sol_socket, ipproto_tcp = 1, 6
    so_keepalive, tcp_keepidle, tcp_keepintvl, tcp_keepcnt = 9, 4, 5, 6
    return [
        {"level": level, "name": name, "int_value": value, "state": "STATE_LISTENING"}
        for level, name, value in (
            (sol_socket, so_keepalive, 1),
            (ipproto_tcp, tcp_keepidle, 60),
            (ipproto_tcp, tcp_keepintvl, 20),
            (ipproto_tcp, tcp_keepcnt, 3),
        )
    ]


def _connection_manager(limits: Limits) -> Json:
    return {
        "@type": _TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "rds": {"route_config_name": ROUTE_CONFIGURATION, "config_source": _from_ads()},
        "server_name": "hatchway",
        # Takes headers that steer Envoy (x-envoy-retry-on, ...) away from clients, and fills x-forwarded-for.
        "use_remote_address": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "max_request_headers_kb": limits.max_headers_kib,
        "request_headers_timeout": _seconds(limits.request_headers_timeout_s),
        "common_http_protocol_options": {
            "idle_timeout": _seconds(limits.idle_connection_s),
            "max_headers_count": limits.max_headers,
        },
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
        # Envoy's windows of 16 MiB a stream would let one upload fill its memory.
        "http2_protocol_options": {
            "initial_stream_window_size": _MIB,
            "initial_connection_window_size": 4 * _MIB,
        },
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "local_reply_config": _local_replies(),
        "http_filters": [
            {
                "name": "envoy.filters.http.cors",
                "typed_config": {"@type": _TYPES + "envoy.extensions.filters.http.cors.v3.Cors"},
                "disabled": True,  # a route's own policy enables it
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": _TYPES + "envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }


def _from_ads() -> Json:
    # No timeout on the first fetch: without its endpoints or routes Envoy would rather serve nothing than wait.
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


# --- answers of Envoy's own making ---------------------------------------------------------------------------
def _local_replies() -> Json:
    """Everything Envoy answers by itself is JSON of the same shape as the replicas' errors."""
    gone = "the replica went away before it answered"
    return {
        "mappers": [
            _reply(_flag("UH"), "no_replica", "no replica of this API is ready", retry_after_s=1),
            _reply(_flag("UF"), "no_replica", "no replica of this API could be reached", retry_after_s=1),
            _reply(_flag("UC", "UR"), "replica_lost", gone),
            _reply(_status(400), "bad_request", "the request is not valid HTTP"),
            _reply(_status(404), "not_found", "no API is served at this path"),
            _reply(_status(408), "request_timeout", "the request did not arrive in time"),
            _reply(_status(413), "body_too_large", "%LOCAL_REPLY_BODY%"),
            _reply(_status(431), "headers_too_large", "the request's headers are too large"),
            _reply(_status(504), "timeout", "the replica did not answer in time"),
        ],
        "body_format": _error_body("gateway", "%LOCAL_REPLY_BODY%"),
    }


def _reply(condition: Json, kind: str, message: str, *, retry_after_s: int | None = None) -> Json:
    mapper: Json = {"filter": condition, "body_format_override": _error_body(kind, message)}
    if retry_after_s is not None:
        mapper["headers_to_add"] = [{"header": {"key": "retry-after", "value": str(retry_after_s)}}]
    return mapper


def _error_body(kind: str, message: str) -> Json:
    request_id = f"%REQ({HEADER_REQUEST_ID}):{MAX_REQUEST_ID_CHARS}%"
    return {"json_format": {"error": {"kind": kind, "message": message, "request_id": request_id}}}


def _flag(*flags: str) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}


def _status(code: int) -> Json:
    return {
        "status_code_filter": {
            "comparison": {"op": "EQ", "value": {"default_value": code, "runtime_key": f"hatchway.reply_{code}"}}
        }
    }


def _seconds(value: float) -> str:
    return f"{value:.3f}s"
