"""Objects of the control API in a cluster: its Service, and what an operator's pod needs for it. Pure."""

from __future__ import annotations

from hatchway.kubernetes.names import (
    CONTROL_API_PORT,
    CONTROL_SERVICE,
    CONTROL_SERVICE_PORT,
    common_labels,
)
from hatchway.kubernetes.pieces import from_anywhere, pods_of
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.tokens import HASHES_SECRET

TOKENS_DIR = "/hatchway/tokens"

# For the operator's pod.
VARIABLES = {"HATCHWAY_TOKENS_DIR": TOKENS_DIR}
CONTAINER_PORT: Json = {"name": CONTROL_SERVICE_PORT, "containerPort": CONTROL_API_PORT, "protocol": "TCP"}
TOKENS_VOLUME: Json = {"name": "tokens", "secret": {"secretName": HASHES_SECRET, "defaultMode": 0o440}}
TOKENS_MOUNT: Json = {"name": "tokens", "mountPath": TOKENS_DIR, "readOnly": True}
# From anywhere: what comes without a token is refused. `kubectl port-forward` is not held by policies.
INGRESS: Json = from_anywhere(CONTROL_API_PORT)
# What commands ask for become edits of the operator's.
RULE: Json = {"apiGroups": [REALTIME_APIS.group], "resources": [REALTIME_APIS.plural], "verbs": ["create", "delete"]}


def make_control_service() -> Json:
    """To any operator: one that does not lead passes requests on. In no namespace yet."""
    ports = [
        {"name": CONTROL_SERVICE_PORT, "port": CONTROL_API_PORT, "targetPort": CONTROL_API_PORT, "protocol": "TCP"}
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": CONTROL_SERVICE, "labels": common_labels("operator")},
        "spec": {"type": "ClusterIP", "selector": pods_of("operator"), "ports": ports},
    }
