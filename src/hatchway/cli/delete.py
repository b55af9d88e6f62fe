"""`hatchway delete`: forget APIs. It asks on a terminal; with --yes, or in a script on this machine, it does not."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine_if_used
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Output
from hatchway.errors import NotFound, UsageError

if TYPE_CHECKING:
    from hatchway.client import Client
    from hatchway.targets import Target

EXAMPLES = (
    "hatchway delete iris",
    "hatchway delete iris support-topics --yes",
    "hatchway delete iris --env prod",
)


def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of APIs.", autocompletion=complete_api)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete APIs.

    Their replicas finish their requests and end, their endpoints answer 404, their revisions are forgotten.
    """
    out = Output.open()
    wanted = list(dict.fromkeys(api_name(name) for name in names))
    client = engine_if_used(out)
    if client is None:
        check_names(wanted, ())
        return
    with client:
        check_names(wanted, [api.name for api in client.list()])
        if not yes:
            confirm(wanted, client.way.target)
        for name in wanted:
            client.delete(name)
        for name in wanted:
            wait_until_gone(client, name)
            out.line(f"{name} is deleted")


def confirm(wanted: Sequence[str], target: Target) -> None:
    """A script says --yes where others may depend on what it deletes. Raises UsageError, typer.Abort."""
    from hatchway.targets import Local

    is_here = isinstance(target, Local)
    if sys.stdin.isatty() and sys.stdout.isatty():
        where = "" if is_here else f" on {target.name} ({target.place})"
        typer.confirm(f"delete {', '.join(wanted)}{where}?", abort=True)
    elif not is_here:
        raise UsageError(f"nobody can be asked whether to delete on {target.name}", hint="say it with --yes")


def check_names(wanted: Sequence[str], known: Collection[str]) -> None:
    """Nothing is deleted when one name is wrong: the others may be a slip too. Raises NotFound."""
    missing = [name for name in wanted if name not in known]
    if missing:
        raise NotFound(
            f"there is no API named {', '.join(missing)}",
            hint=f"there are: {', '.join(known)}" if known else "nothing is deployed",
        )


def wait_until_gone(client: Client, name: str) -> None:
    """Requests in flight finish first, for up to update_strategy.drain_timeout."""
    with suppress(NotFound):
        for _ in client.watch(name):
            pass
