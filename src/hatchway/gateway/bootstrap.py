"""What Envoy is started with: where its admin socket and its ADS server are. Everything else comes over ADS. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hatchway.gateway.observing import TRACES_CLUSTER
from hatchway.gateway.served import stats_config

_TYPES = "type.googleapis.com/"
_ADS = "ads"


def make_bootstrap(home_hash: str, *, admin_socket: str, ads_socket: str, traces_socket: str) -> dict[str, Any]:
    """The same for all engines of a home, so that a new one can adopt the Envoy of a former one."""
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": f"hatchway-{home_hash}", "cluster": "hatchway"},
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
        # The one for traces is there whether or not there are any, so that nothing has to be started anew for them.
        "static_resources": {"clusters": [_ads_cluster(ads_socket), _traces_cluster(traces_socket)]},
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


def bootstrap_hash(bootstrap: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(bootstrap, sort_keys=True).encode()).hexdigest()[:12]


def _traces_cluster(traces_socket: str) -> dict[str, Any]:
    return {
        "name": TRACES_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": TRACES_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": traces_socket}}}}]}],
        },
    }


def _ads_cluster(ads_socket: str) -> dict[str, Any]:
    return {
        "name": _ADS,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": _ADS,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": ads_socket}}}}]}],
        },
    }
