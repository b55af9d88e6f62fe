"""`hatchway start`: bring a stopped API back, or try a failed one again, and wait until it is live."""

from __future__ import annotations

import time

import typer

from hatchway.cli.connect import engine_of
from hatchway.cli.deploy import follow, show_finishes
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Output
from hatchway.cli.progress import open_progress

EXAMPLES = ("hatchway start iris",)


def start(name: NameArgument) -> None:
    """Start a stopped or failed API, and wait until it is live."""
    from hatchway.spec.status import DeployResult

    out = Output.open()
    wanted = api_name(name)
    began = time.monotonic()
    with engine_of(wanted, out) as client:
        api = client.start(wanted)
        started = DeployResult(
            name=api.name,
            kind=api.kind,
            status=api.status,
            revision=api.revision,
            endpoint=api.endpoint,
            message="started",
        )
        with open_progress(out) as progress:
            (finish,) = follow(client, [started], progress, began=began, timeout_s=None)
        show_finishes(out, client, [finish])
    if finish.error is not None:
        raise typer.Exit(finish.error.exit_code)
