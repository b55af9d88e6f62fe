"""`hatchway dev`: serve a project in the foreground while it is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hatchway.cli.connect import settings_here
from hatchway.cli.deploy import read_targets
from hatchway.cli.foreground import Screen
from hatchway.cli.names import complete_api
from hatchway.cli.output import Output
from hatchway.errors import UsageError

EXAMPLES = (
    "hatchway dev",
    "hatchway dev models/iris",
    "hatchway dev iris --port 8080",
)


def dev(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH|NAME",
            help="A YAML file, a folder with a hatchway.yaml, or names of APIs in the one here. Default: all here.",
            autocompletion=complete_api,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Where to listen; 0: any free port. Default: the first free one from 8000."
        ),
    ] = None,
) -> None:
    """Serve APIs in the foreground, and load them again whenever a file of the project is saved.

    The same runtime as a deployed replica's, with one process per API and without engine and gateway. Output,
    tracebacks and breakpoint() are on this terminal. Ctrl-C ends it.
    """
    import asyncio

    from hatchway.dev.apis import Target
    from hatchway.dev.front import listen
    from hatchway.dev.session import Session

    out = Output.open()
    found = read_targets(targets or [])
    if len(found.paths) > 1:
        raise UsageError("only one project at a time", hint="name one folder or YAML file")
    target = Target(found.paths[0] if found.paths else Path(), found.names)
    with listen(port) as sock:
        asyncio.run(Session(target, settings_here(), os.environ, Screen(out)).run(sock))
