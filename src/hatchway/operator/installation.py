"""What differs between installations in clusters, and how the operator learns of its own. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.errors import UsageError
from hatchway.kubernetes.certificates import Certified
from hatchway.kubernetes.resources import Json

PODS_VARIABLE = "HATCHWAY_PODS"


@dataclass(frozen=True)
class Keys:
    """By what the parts of an installation know each other and its users; kept in Secrets, made once.

    files_token:  what pods and uploads show to the operator.
    control_token, session_key:  what commands show to it, and what it signs sessions of browsers with.
    authority:    issued the certificates of `operator` and `gateway`, with which these two meet.
    """

    files_token: str = field(repr=False)
    control_token: str = field(repr=False)
    session_key: str = field(repr=False)
    authority: Certified
    operator: Certified
    gateway: Certified


@dataclass(frozen=True)
class Installation:
    """`pods` says of replicas what the operator passes on; its pull policy and pull secrets are for all pods.

    bucket:        where projects' files are kept, s3://BUCKET/PREFIX; bucket_secret has its keys as variables.
    storage:       size of the volume for them where there is no bucket; storage_class "": the cluster's default.
    service_type:  of the gateway: ClusterIP, NodePort or LoadBalancer.
    pod_monitor:   whether the cluster's Prometheus operator is told to ask gateways for metrics.
    """

    namespace: str
    operator_image: str
    gateway_image: str
    pods: ReplicaPods
    keys: Keys
    bucket: str = ""
    bucket_secret: str = ""
    storage: str = "20Gi"
    storage_class: str = ""
    service_type: str = "ClusterIP"
    pod_monitor: bool = False
    operator_resources: Mapping[str, Any] = field(default_factory=lambda: _requests("250m", "512Mi"))
    gateway_resources: Mapping[str, Any] = field(default_factory=lambda: _requests("250m", "256Mi"))


def _requests(cpu: str, memory: str) -> Json:
    return {"requests": {"cpu": cpu, "memory": memory}}


def write_pods(pods: ReplicaPods) -> str:
    """For PODS_VARIABLE."""
    return json.dumps(asdict(pods))


def read_pods(environ: Mapping[str, str]) -> Json:
    """The fields of `ReplicaPods`. Raises UsageError for what is missing or no such thing."""
    try:
        read = json.loads(environ[PODS_VARIABLE])
        unknown = read.keys() - {each.name for each in fields(ReplicaPods)}
        if unknown:
            raise UsageError(f"{PODS_VARIABLE} has unknown fields: {', '.join(sorted(unknown))}", hint=_HINT)
        return {name: tuple(value) if isinstance(value, list) else value for name, value in read.items()}
    except KeyError:
        raise UsageError(f"{PODS_VARIABLE} is not set", hint=_HINT) from None
    except (ValueError, AttributeError) as exc:
        raise UsageError(f"{PODS_VARIABLE} cannot be read: {exc}", hint=_HINT) from exc


_HINT = "`hatchway cluster install` and the Helm chart set it"
