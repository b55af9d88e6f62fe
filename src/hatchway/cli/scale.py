"""`hatchway scale`: a fixed number of replicas for a while."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hatchway.cli.connect import engine_of
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Format, FormatOption, Output, format_moment
from hatchway.errors import UsageError

EXAMPLES = ("hatchway scale iris 3 --for 2h", "hatchway scale iris --for 0")


def scale(
    name: NameArgument,
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="For how long: 30m, 2h. 0 ends it now.", show_default=False)
    ],
    replicas: Annotated[
        int | None, typer.Argument(metavar="[N]", help="How many replicas, within the API's bounds.", min=0)
    ] = None,
    output: FormatOption = Format.table,
) -> None:
    """Run so many replicas for a while, whatever the load.

    It ends by itself, or with a deploy of other bounds; for good, change autoscaling.min_replicas and max_replicas.
    """
    out = Output.open(output)
    wanted, for_s = api_name(name), read_duration(duration)
    with engine_of(wanted, out) as client:
        api = client.scale(wanted, replicas, for_s=for_s)
    if not out.is_table:
        out.data(api)
    elif api.scaled is None:
        out.line(f"{wanted} is no longer scaled to a fixed number")
    else:
        out.line(f"{wanted} is scaled to {api.scaled.replicas} until {format_moment(api.scaled.until, time.time())}")


def read_duration(written: str) -> float:
    """Raises UsageError."""
    from hatchway.spec.values import Wrong, parse_duration

    try:
        return parse_duration(written)
    except Wrong:
        raise UsageError(f"--for {written[:40]} is not a duration", hint="write it like 90s, 30m or 2h") from None
