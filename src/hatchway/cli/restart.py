"""`hatchway restart`: new replicas in the place of all there are, and nothing else changes."""

from __future__ import annotations

from hatchway.cli.connect import engine_of
from hatchway.cli.finishes import TimeoutOption, WaitOption, finish_one
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Format, FormatOption, Output

EXAMPLES = ("hatchway restart iris", "hatchway restart iris --no-wait")


def restart(
    name: NameArgument,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Replace all replicas of an API by new ones of the same revision.

    As in an update: new ones start before old ones stop, and if they do not get ready the old ones go on.
    """
    out = Output.open(output)
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        finish_one(out, client, client.restart(wanted, wait=False), wait=wait, timeout_s=timeout)
