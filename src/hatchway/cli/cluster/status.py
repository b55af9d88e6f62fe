"""`hatchway cluster status`: versions, operators and gateways, APIs, and when certificates end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hatchway.cli.cluster.connecting import NAMESPACE, ContextOption, NamespaceOption, cluster_at
from hatchway.cli.output import Cell, Format, FormatOption, Output

if TYPE_CHECKING:
    from hatchway.spec.cluster import ClusterStatus, PartStatus

EXAMPLES = ("hatchway cluster status", "hatchway cluster status --context prod -o json")


def status(
    context: ContextOption = None, namespace: NamespaceOption = NAMESPACE, output: FormatOption = Format.table
) -> None:
    """Show what is installed in a cluster, and whether it runs."""
    out = Output.open(output)
    cluster = cluster_at(context, namespace)
    from hatchway.cluster.looking import look

    found = cluster.run(lambda server: look(server, cluster.address))
    if not out.is_table:
        out.data(found)
        return
    out.line(f"{cluster}, Kubernetes {found.kubernetes}")
    out.table((), rows_of(found))


def rows_of(found: ClusterStatus) -> list[list[str | Cell]]:
    by_helm = " by Helm" if found.installed_by == "helm" else ""
    apis = ", ".join(f"{count} {phase}" for phase, count in found.apis.items()) or "none"
    return [
        ["hatchway", (found.version or "unknown version") + by_helm, ""],
        *(row_of(part) for part in found.parts),
        ["leader", found.leader or Cell("none", "yellow"), ""],
        ["requests", found.gateway or "nowhere", ""],
        ["APIs", apis, ""],
        ["certificates", f"until {found.certificates_end[:10]}" if found.certificates_end else "unknown", ""],
    ]


def row_of(part: PartStatus) -> list[str | Cell]:
    style = "green" if part.ready >= part.wanted else "yellow"
    trouble = ": ".join(each for each in (part.reason, part.message) if each)
    return [part.name, Cell(f"{part.ready} of {part.wanted} ready", style), trouble or part.image]
