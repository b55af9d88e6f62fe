"""`hatchway delete`: forget APIs. It asks on a terminal; with --yes or in a script it does not."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hatchway.cli.connect import engine_if_used
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Output
from hatchway.errors import NotFound

EXAMPLES = ("hatchway delete iris", "hatchway delete iris support-topics --yes")


def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of APIs.", autocompletion=complete_api)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete APIs: replicas finish their requests and end, the endpoint answers 404, the history is forgotten."""
    out = Output.open()
    wanted = list(dict.fromkeys(api_name(name) for name in names))
    client = engine_if_used(out)
    known = [] if client is None else [api.name for api in client.list()]
    missing = [name for name in wanted if name not in known]
    if client is None or missing:
        # Nothing is deleted when one name is wrong: the others may be a slip too.
        raise NotFound(
            f"there is no API named {', '.join(missing)}",
            hint=f"there are: {', '.join(known)}" if known else "nothing is deployed",
        )
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(f"delete {', '.join(wanted)}?", abort=True)
    with client:
        for name in wanted:
            client.delete(name)
            out.line(f"{name} is deleted")
