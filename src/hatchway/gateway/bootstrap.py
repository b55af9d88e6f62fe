"""What Envoy is started with: where its admin socket and its ADS server are. Everything else comes over ADS. Pure.

On one machine the server is the engine, at a unix socket; in a cluster any operator, over TCP with mutual TLS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hatchway.gateway.observing import TRACES_CLUSTER
from hatchway.gateway.served import stats_config

Json = dict[str, Any]

HOST = "host"  # of a node's metadata: where its Envoy listens

_TYPES = "type.googleapis.com/"
_TLS = _TYPES + "envoy.extensions.transport_sockets.tls.v3."
_ADS = "ads"
_CERTIFICATE, _AUTHORITY = "certificate", "authority"
# How long an operator that has vanished without a word is listened to.
_KEEPALIVE: Json = {"interval": "3s", "timeout": "2s"}


@dataclass(frozen=True)
class Operators:
    """Where an Envoy of a cluster gets its configuration, and how both prove who they are.

    `name` is what the operators' certificate must be for. `certificate` and `authority` are files as
    `make_certificate` and `make_authority` describe them.
    """

    host: str
    port: int
    name: str
    certificate: str
    authority: str


def envoy_arguments(bootstrap: str, *, workers: int) -> list[str]:
    """How Envoy is run, after the name of its binary."""
    return [
        *("--config-path", bootstrap),
        *("--concurrency", str(workers)),
        "--disable-hot-restart",  # else a second one exits, and files stay in /dev/shm
        *("--drain-strategy", "immediate"),
        *("--log-level", "warning"),
    ]


def make_bootstrap(home_hash: str, *, admin_socket: str, ads_socket: str, traces_socket: str) -> Json:
    """The same for all engines of a home, so that a new one can adopt the Envoy of a former one."""
    # The cluster for traces is there whether or not there are any, so that nothing has to be started anew for them.
    clusters = [_ads_cluster(ads_socket), _traces_cluster(traces_socket)]
    return _bootstrap({"id": f"hatchway-{home_hash}", "cluster": "hatchway"}, admin_socket, clusters)


def make_pod_bootstrap(pod: str, host: str, *, admin_socket: str, operators: Operators) -> Json:
    """Of the Envoy of a pod, which is to listen on `host`, an IP address."""
    node = {"id": pod, "cluster": "hatchway", "metadata": {HOST: host}}
    return _bootstrap(node, admin_socket, [_operators_cluster(operators)])


def _bootstrap(node: Json, admin_socket: str, clusters: Sequence[Json]) -> Json:
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": node,
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": _ADS,
                            # Default: up to 30 s until a new engine is heard.
                            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}},
                        }
                    }
                ],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        "stats_config": stats_config(),
        # Histograms lag behind by this. The default is 5 s; all the time it costs Envoy 0.1 % of a core at 200 APIs.
        "stats_flush_interval": "2s",
        "static_resources": {"clusters": list(clusters)},
        "layered_runtime": {
            "layers": [
                {
                    "name": "hatchway",
                    "static_layer": {
                        # Defaults: five spans or five seconds. So a busy gateway would post a thousand times a second.
                        "tracing.opentelemetry.min_flush_spans": 256,
                        "tracing.opentelemetry.flush_interval_ms": 1000,
                    },
                }
            ]
        },
        # Envoy warns at each start when nothing bounds its connections; the limit on open files does.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": _TYPES + "envoy.extensions.resource_monitors.downstream_connections.v3."
                        "DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 50_000,
                    },
                }
            ]
        },
    }


def bootstrap_hash(bootstrap: Json) -> str:
    return hashlib.sha256(json.dumps(bootstrap, sort_keys=True).encode()).hexdigest()[:12]


def _traces_cluster(traces_socket: str) -> Json:
    return _cluster(TRACES_CLUSTER, {"pipe": {"path": traces_socket}})


def _ads_cluster(ads_socket: str) -> Json:
    return _cluster(_ADS, {"pipe": {"path": ads_socket}}) | _speaks_http2({})


def _operators_cluster(operators: Operators) -> Json:
    """All operators behind one name: whoever of them is reached says the same."""
    address = {"socket_address": {"address": operators.host, "port_value": operators.port}}
    return {
        **_cluster(_ADS, address),
        **_speaks_http2({"connection_keepalive": _KEEPALIVE}),
        "type": "STRICT_DNS",
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": _TLS + "UpstreamTlsContext",
                "sni": operators.name,
                "common_tls_context": {
                    "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},  # the default of a client is 1.2
                    "tls_certificate_sds_secret_configs": [_from_file(_CERTIFICATE, operators.certificate)],
                    "combined_validation_context": {
                        "default_validation_context": {
                            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": operators.name}}]
                        },
                        "validation_context_sds_secret_config": _from_file(_AUTHORITY, operators.authority),
                    },
                },
            },
        },
    }


def _cluster(name: str, address: Json) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _speaks_http2(options: Json) -> Json:
    return {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": options},
            }
        }
    }


# --- certificates that are replaced while Envoy runs -----------------------------------------------------------
def make_certificate(folder: str) -> Json:
    """The file that says where Envoy's own certificate is; `folder` is looked at again whenever it changes."""
    files = {
        "certificate_chain": {"filename": f"{folder}/tls.crt"},
        "private_key": {"filename": f"{folder}/tls.key"},
        "watched_directory": {"path": folder},
    }
    return {"resources": [{"@type": _TLS + "Secret", "name": _CERTIFICATE, "tls_certificate": files}]}


def make_authority(folder: str) -> Json:
    """The file that says who signs for the operators."""
    files = {"trusted_ca": {"filename": f"{folder}/ca.crt"}, "watched_directory": {"path": folder}}
    return {"resources": [{"@type": _TLS + "Secret", "name": _AUTHORITY, "validation_context": files}]}


def _from_file(name: str, path: str) -> Json:
    return {"name": name, "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"}}
