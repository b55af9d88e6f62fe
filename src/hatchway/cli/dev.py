"""`hatchway dev`: serve a project, or a model's file, in the foreground while it is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hatchway.cli.connect import settings_here
from hatchway.cli.deploy import read_targets
from hatchway.cli.foreground import Screen
from hatchway.cli.models import asker, check_paths
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Output
from hatchway.cli.progress import Silent
from hatchway.cli.targets import check_local
from hatchway.errors import UsageError

EXAMPLES = (
    "hatchway dev",
    "hatchway dev models/iris",
    "hatchway dev iris --port 8080",
    "hatchway dev model.joblib",
)


def dev(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH|NAME",
            help="A model's file, a YAML file, a folder with a hatchway.yaml or a model, or names of APIs in the "
            "hatchway.yaml here. Default: all here.",
            autocompletion=complete_api,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name of the API that serves a model. Default: as its file is named."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Load models that may run code while they load, without asking."),
    ] = False,
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

    from hatchway.client.model_checks import trust_all, trust_none
    from hatchway.dev.apis import Reader, Target
    from hatchway.dev.front import listen
    from hatchway.dev.session import Session

    check_local("dev", "serves APIs on this machine", even_by_default=False)
    out = Output.open()
    found = read_targets(targets or [])
    if len(found.paths) > 1:
        raise UsageError("only one project at a time", hint="name one folder or YAML file")
    check_paths(found.paths)
    target = Target(
        found.paths[0] if found.paths else Path(), found.names, name=None if name is None else api_name(name)
    )
    settings = settings_here()
    screen = Screen(out, target.watched)
    reader = Reader(target, os.environ, settings.home / "project-cache.db", screen.read)
    session = Session(reader, settings, screen, trust_all if trust else trust_none)
    with listen(port) as sock:
        # Not in the loop: whoever is asked about a model may end it all by Ctrl-C.
        first = reader.read(trust_all if trust else asker(out, Silent()))
        asyncio.run(session.run(sock, first))
