"""What objects of several kinds of pods have in common: operators, gateways, replicas. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hatchway.kubernetes.names import COMPONENT, HATCHWAY, NAME
from hatchway.kubernetes.resources import Json

USER_ID = 10001

ZONES_AND_NODES = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")

POD_SECURITY: Json = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pods_of(component: str) -> dict[str, str]:
    """The labels that all its pods have: "operator", "gateway" or "replica"."""
    return {NAME: HATCHWAY, COMPONENT: component}


def in_namespace(obj: Json, namespace: str) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}


def pull_secrets(names: Sequence[str]) -> Json:
    """Of a pod's spec; nothing where there are none."""
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def spread(key: str, labels: Mapping[str, str]) -> Json:
    """Pods with these labels over zones or nodes, where that is possible: one on a crowded node is better than none."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }


def disruption_budget(metadata: Json, labels: Mapping[str, str], max_unavailable: int | str) -> Json:
    """How many of these pods may be taken for a node to be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": max_unavailable,
            "selector": {"matchLabels": dict(labels)},
            # One that is not ready serves nobody: it must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


# --- network ---------------------------------------------------------------------------------------------------
def network_policy(metadata: Json, labels: Mapping[str, str], ingress: Sequence[Json]) -> Json:
    """Who may come to these pods; policies add up."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {"podSelector": {"matchLabels": dict(labels)}, "policyTypes": ["Ingress"], "ingress": list(ingress)},
    }


def from_pods(labels: Mapping[str, str], *ports: int) -> Json:
    """A rule of a policy: these pods, to these ports."""
    return {"from": [{"podSelector": {"matchLabels": dict(labels)}}], **from_anywhere(*ports)}


def from_anywhere(*ports: int) -> Json:
    return {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
