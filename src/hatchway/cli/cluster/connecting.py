"""From a command to a cluster, by the kubeconfig; what goes wrong on the way becomes an error of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hatchway.errors import AccessDenied, EngineUnavailable, HatchwayError, UsageError

if TYPE_CHECKING:
    from hatchway.kubernetes.api_server import ApiServer, Refused
    from hatchway.kubernetes.connection import Connection

T = TypeVar("T")

NAMESPACE = "hatchway"

ContextOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="A context of the kubeconfig. Default: its current one.")
]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Where Hatchway lives.")]
TimeoutOption = Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long to wait.")]


@dataclass(frozen=True)
class Cluster:
    """`name` is what people call it: the context of the kubeconfig."""

    name: str
    namespace: str
    connection: Connection

    @property
    def address(self) -> str:
        return self.connection.server

    def __str__(self) -> str:
        return f"namespace {self.namespace} of cluster {self.name}"

    def run(self, action: Callable[[ApiServer], Awaitable[T]]) -> T:
        """In an event loop of its own. Raises HatchwayError for all that the API server says against it."""
        import asyncio

        from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable

        async def live() -> T:
            server = ApiServer(self.connection)
            try:
                return await action(server)
            finally:
                await server.close()

        try:
            return asyncio.run(live())
        except Refused as refused:
            raise _to_error(self.name, refused) from refused
        except Unreachable as exc:
            raise EngineUnavailable(
                f"cluster {self.name} does not answer at {self.address}: {exc}", hint="kubectl cluster-info says more"
            ) from exc


@contextmanager
def needs_extra() -> Iterator[None]:
    """For imports of what `hatchway[kubernetes]` brings. Raises UsageError."""
    try:
        yield
    except ImportError as exc:
        raise UsageError(
            f"clusters need packages that are not installed: {exc.name}", hint="pip install 'hatchway[kubernetes]'"
        ) from exc


def cluster_at(context: str | None, namespace: str) -> Cluster:
    """Nothing is sent yet. Raises UsageError."""
    with needs_extra():
        from lightkube.config.kubeconfig import KubeConfig

        from hatchway.kubernetes.connection import connect

    connection = connect(context)
    found = KubeConfig.from_env().get(context)
    name = context or (found.context_name if found is not None else "") or connection.server
    return Cluster(name, namespace, replace(connection, namespace=namespace))


def _to_error(cluster: str, refused: Refused) -> HatchwayError:
    if refused.code in (401, 403):
        return AccessDenied(f"cluster {cluster}: {refused}", hint="see who you are there with: kubectl auth whoami")
    return HatchwayError(f"cluster {cluster}: {refused}")
