"""`hatchway logs`: what the handler of an API printed and logged, of all its replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine_of
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Cell, Format, FormatOption, Output, printable

if TYPE_CHECKING:
    from hatchway.spec.status import LogLine

EXAMPLES = (
    "hatchway logs iris",
    "hatchway logs iris -f",
    "hatchway logs iris --since 10m --level warning",
    "hatchway logs iris --grep 'out of memory' -o json",
    "hatchway logs iris --request-id 3f2a9c01",
)

LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def logs(  # noqa: PLR0913 (options of a command)
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only lines from then on: 30s, 10m, 2h ago, or a moment in UTC.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only lines before then: 10m, or 2026-01-31T12:00:00.")
    ] = None,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="Only this and above: debug, info, warning, error.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only lines that hold this text; any case if all lower case.")
    ] = None,
    replica: Annotated[str | None, typer.Option(help="Only of this replica.")] = None,
    revision: Annotated[str | None, typer.Option(help="Only of this revision.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Only of the request with this x-request-id.")] = None,
    output: FormatOption = Format.table,
) -> None:
    """Show what an API's handler printed and logged.

    With -o json: one object a line.
    """
    out = Output.open(output)
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        lines = client.logs(
            wanted,
            replica=replica,
            revision=revision,
            since=since,
            until=until,
            level=level,
            text=grep,
            request_id=request_id,
            follow=follow,
        )
        for line in lines:
            if out.is_table:
                show_line(out.line, line)
            else:
                out.item(line)


def show_line(show: Callable[..., None], line: LogLine) -> None:
    """`12:00:00.123  replica  LEVEL  message`; further lines of a message stand below its first one."""
    level = line.level.upper()
    first, *rest = list(printable(line.message.split("\n"))) or [""]
    style = LEVEL_STYLES.get(level, "")
    clock = line.time[11:23] or " " * 12
    show(Cell(f"{clock}  {line.replica}  ", "dim"), Cell(f"{level:<8}", style), first)
    for text in rest:
        show("    ", text)
