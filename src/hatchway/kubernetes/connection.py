"""The way to an API server: from a kubeconfig, or from the service account of the pod that we run in."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams, user_auth, verify_cluster
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
    config: SingleConfig

    def tls(self) -> ssl.SSLContext | None:
        """For connections that are not made by `http`; None where the server speaks plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        assert self.config.user is not None
        return verify_cluster(self.config.cluster, self.config.user, self.config.abs_file)

    async def credentials(self) -> Mapping[str, str]:
        """Headers that say who we are, made anew: a program that prints tokens is run. Raises UsageError."""
        auth = None if self.config.user is None else user_auth(self.config.user)
        request = httpx2.Request("GET", self.server)
        if auth is not None:
            flow = auth.async_auth_flow(request)
            try:
                request = await anext(flow)
            except ConfigError as exc:
                raise UsageError(f"cannot log in to {self.server}: {exc}") from exc
            finally:
                await flow.aclose()
        return {name: value for name, value in request.headers.items() if name == "authorization"}


def connect(context: str | None = None, *, kubeconfig: Path | None = None, namespace: str | None = None) -> Connection:
    """`context` is of the kubeconfig; None: its current one, or inside of a pod its service account.

    `namespace`: instead of the context's own.

    Raises UsageError when there is no such context, or no way to a cluster at all.
    """
    return _open(_find(context, kubeconfig), namespace)


@dataclass(frozen=True)
class Context:
    """An entry of a kubeconfig."""

    context: str
    namespace: str


def find_context(context: str | None = None, *, kubeconfig: Path | None = None) -> Context:
    """The one of that name, or the current one. Raises UsageError when there is none."""
    found = _find(context, kubeconfig)
    return Context(found.context_name, found.namespace)


def _find(context: str | None, kubeconfig: Path | None) -> SingleConfig:
    try:
        config = KubeConfig.from_env() if kubeconfig is None else KubeConfig.from_file(kubeconfig)
        found = config.get(context)
    except (ConfigError, OSError, KeyError, ValueError) as exc:
        raise UsageError(
            f"cannot use the kubeconfig: {exc}", hint="KUBECONFIG names it; ~/.kube/config is the default"
        ) from exc
    if found is None:
        raise UsageError(f"the kubeconfig has no context {context!r}" if context else "the kubeconfig has no context")
    return found


def connect_to(url: str, token: str, *, namespace: str = "default") -> Connection:
    """Straight to a server."""
    from lightkube.config.models import Cluster, User

    config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token=token), namespace=namespace)
    found = config.get()
    assert found is not None
    return _open(found)


def _open(config: SingleConfig, namespace: str | None = None) -> Connection:
    client = AsyncClient(config, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT_S)))
    return Connection(client, namespace or config.namespace, config.cluster.server, config)
