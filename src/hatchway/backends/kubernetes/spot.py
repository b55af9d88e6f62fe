"""Which nodes are spot nodes, cheap ones that may be taken away, and how replicas come to prefer them. Pure."""

from __future__ import annotations

from hatchway.kubernetes.resources import Json

# As clouds label them, and keep others from them with a taint of the same name and value.
_LABELS = (
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)


def prefer_spot(own: tuple[str, str] | None) -> Json:
    """A node affinity; others do where there are none. `own`: another label that marks such nodes here."""
    terms = [
        {
            "weight": 100,
            "preference": {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]},
        }
        for key, value in _labels(own)
    ]
    return {"preferredDuringSchedulingIgnoredDuringExecution": terms}


def tolerate_spot(own: tuple[str, str] | None) -> list[Json]:
    return [{"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"} for key, value in _labels(own)]


def _labels(own: tuple[str, str] | None) -> tuple[tuple[str, str], ...]:
    return _LABELS if own is None else (own, *_LABELS)
