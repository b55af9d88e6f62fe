"""`hatchway rollback`: an earlier revision becomes the wanted one."""

from __future__ import annotations

from typing import Annotated

import typer

from hatchway.cli.connect import engine_of
from hatchway.cli.finishes import TimeoutOption, WaitOption, finish_one
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Format, FormatOption, Output

EXAMPLES = ("hatchway rollback iris", "hatchway rollback iris --to 3f2a9c01")


def rollback(
    name: NameArgument,
    to: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Which one, or the first digits of it. Default: what was live before."),
    ] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Go back to the revision that was live before the present one.

    Code, model files, packages and secrets become those of that revision. The settings that need no new replicas
    (autoscaling, update_strategy, networking, monitoring) stay as they are now. Done twice, it goes forward again.
    """
    out = Output.open(output)
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        finish_one(out, client, client.rollback(wanted, to=to, wait=False), wait=wait, timeout_s=timeout)
