"""Labels, annotations and ports that our objects carry, and the names they get. Pure."""

from __future__ import annotations

from hatchway.kubernetes.resources import Json

NAME, COMPONENT, MANAGED_BY = "app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/managed-by"
HATCHWAY = "hatchway"

API = "hatchway.dev/api"
REVISION = "hatchway.dev/revision"
# On a replica's pod: whether it belongs to its Deployment. One that drains does not any more.
SERVING = "hatchway.dev/serving"
YES, DRAINING, LEAVING = "yes", "draining", "leaving"  # a drain may be taken back, a leave may not

DATA_PORT = 8080  # of a replica: requests from the gateway
CONTROL_PORT = 8081  # likewise: probes and the operator
FILES_PORT = 8486  # of the operator: projects' files, for replicas that start
GATEWAY_PORT = 8484  # of Envoy: requests of clients
CONFIGURATION_PORT = 8488  # of the operator: Envoys come for what they are to do, with mutual TLS
AGENT_PORT = 8489  # of a gateway: operators ask what its Envoy does, with mutual TLS
PROBES_PORT = 8490  # likewise: whether it is ready, and its metrics
CONTROL_API_PORT = 8487  # of the operator: the control API

# How clients reach what runs in a cluster: a Service, and the name of its port.
CONTROL_SERVICE, CONTROL_SERVICE_PORT = "hatchway-control", "control"
GATEWAY_SERVICE, GATEWAY_SERVICE_PORT = "hatchway-gateway", "http"
TOKEN_SECRET, TOKEN_SECRET_KEY = "hatchway-token", "token"  # for those who may read it


def common_labels(component: str) -> dict[str, str]:
    return {NAME: HATCHWAY, COMPONENT: component, MANAGED_BY: HATCHWAY}


def replica_labels(api: str, revision: str) -> dict[str, str]:
    """Of all objects of a revision."""
    return {**common_labels("replica"), API: api, REVISION: revision}


def serving_selector(api: str, revision: str) -> dict[str, str]:
    """Which pods a revision's Deployment counts."""
    return {API: api, REVISION: revision, SERVING: YES}


def revision_name(api: str, revision: str) -> str:
    """Of a revision's Deployment and Secret: at most 42 + 1 + 12 characters."""
    return f"{api}-{revision}"


def label(obj: Json, name: str) -> str:
    return str(obj["metadata"].get("labels", {}).get(name, ""))
