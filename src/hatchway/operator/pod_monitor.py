"""Has the Prometheus operator of a cluster ask gateways for their metrics, where somebody chose that. Pure."""

from __future__ import annotations

from hatchway.kubernetes.names import common_labels
from hatchway.kubernetes.pieces import pods_of
from hatchway.kubernetes.resources import POD_MONITORS, Json
from hatchway.operator.installation import Installation


def make_pod_monitors(installation: Installation) -> list[Json]:
    """One or none."""
    if not installation.pod_monitor:
        return []
    return [
        {
            "apiVersion": POD_MONITORS.api_version,
            "kind": POD_MONITORS.kind,
            "metadata": {
                "name": "hatchway-gateway",
                "namespace": installation.namespace,
                "labels": common_labels("gateway"),
            },
            "spec": {
                "selector": {"matchLabels": pods_of("gateway")},
                "podMetricsEndpoints": [{"port": "probes", "path": "/metrics"}],
            },
        }
    ]
