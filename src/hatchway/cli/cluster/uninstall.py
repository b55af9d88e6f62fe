"""`hatchway cluster uninstall`: remove everything; it asks with the cluster's name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.cluster.connecting import NAMESPACE, ContextOption, NamespaceOption, TimeoutOption, cluster_at
from hatchway.cli.output import Cell, Output
from hatchway.errors import UsageError

if TYPE_CHECKING:
    from hatchway.cli.cluster.connecting import Cluster
    from hatchway.kubernetes.api_server import ApiServer

EXAMPLES = ("hatchway cluster uninstall --context prod", "hatchway cluster uninstall --delete-apis --yes")

TIMEOUT_S = 300.0


def uninstall(
    context: ContextOption = None,
    namespace: NamespaceOption = NAMESPACE,
    delete_apis: Annotated[bool, typer.Option("--delete-apis", help="Also delete the APIs that are deployed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """Remove Hatchway from a cluster, with projects' files, history and keys.

    It refuses while APIs are deployed. With --delete-apis their requests finish first, for up to --timeout.
    """
    out = Output.open()
    cluster = cluster_at(context, namespace)
    if not yes:
        ask(cluster)
    n_gone = cluster.run(lambda server: carry_out(out, server, delete_apis=delete_apis, timeout_s=timeout))
    out.line("removed" if n_gone else "there was nothing to remove", f" from {cluster}")


def ask(cluster: Cluster) -> None:
    """For the cluster's name, so that nobody takes one for another. Raises UsageError."""
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked whether to remove Hatchway from {cluster}", hint="say so with --yes")
    typed = typer.prompt(f"This removes Hatchway from {cluster} ({cluster.address}).\nThe cluster's name, to go on")
    if typed.strip() != cluster.name:
        raise UsageError(f"this cluster is named {cluster.name}; nothing was removed")


async def carry_out(out: Output, server: ApiServer, *, delete_apis: bool, timeout_s: float) -> int:
    from hatchway.cluster.removing import check_removal, find_apis, remove

    def tell(text: str) -> None:
        out.note(Cell(text, "dim"))

    await check_removal(server, await find_apis(server), delete_apis=delete_apis)
    return await remove(server, timeout_s, tell)
