"""The way to an API server: from a kubeconfig, or from the service account of the pod that we run in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from hatchway.errors import UsageError

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Connection:
    """An HTTP client that knows where the server is and who we are; and the namespace that is meant by default."""

    http: httpx2.AsyncClient
    namespace: str
    server: str


def connect(context: str | None = None, *, kubeconfig: Path | None = None) -> Connection:
    """`context` is of the kubeconfig; None: its current one, or inside of a pod its service account.

    Raises UsageError when there is no such context, or no way to a cluster at all.
    """
    try:
        config = KubeConfig.from_env() if kubeconfig is None else KubeConfig.from_file(kubeconfig)
        found = config.get(context)
    except (ConfigError, OSError, KeyError, ValueError) as exc:
        raise UsageError(
            f"cannot use the kubeconfig: {exc}", hint="KUBECONFIG names it; ~/.kube/config is the default"
        ) from exc
    if found is None:
        raise UsageError(f"the kubeconfig has no context {context!r}" if context else "the kubeconfig has no context")
    return _open(found)


def connect_to(url: str, token: str, *, namespace: str = "default") -> Connection:
    """Straight to a server."""
    from lightkube.config.models import Cluster, User

    config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token=token), namespace=namespace)
    found = config.get()
    assert found is not None
    return _open(found)


def _open(config: SingleConfig) -> Connection:
    client = AsyncClient(config, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT_S)))
    return Connection(client, config.namespace, config.cluster.server)
