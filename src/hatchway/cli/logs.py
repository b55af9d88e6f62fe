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
    "hatchway logs iris --since 10m -o json",
    "hatchway logs iris --request-id 3f2a9c01",
)

LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    replica: Annotated[str | None, typer.Option(help="Only of this replica.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only lines younger than this: 30s, 10m, 2h.")
    ] = None,
    request_id: Annotated[str | None, typer.Option(help="Only of the request with this x-request-id.")] = None,
    output: FormatOption = Format.table,
) -> None:
    """Show what an API's handler printed and logged.

    With -o json: one object a line.
    """
    out = Output.open(output)
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        for line in client.logs(wanted, replica=replica, since=since, request_id=request_id, follow=follow):
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
