"""`hatchway stop`: end an API's replicas and keep everything else."""

from __future__ import annotations

from hatchway.cli.connect import engine_of
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Output

EXAMPLES = ("hatchway stop iris",)


def stop(name: NameArgument) -> None:
    """Stop an API; hatchway start brings it back.

    Its replicas finish their requests and end; its endpoint, revisions and files are kept.
    """
    out = Output.open()
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        client.stop(wanted)
    out.line(f"{wanted} is stopped; hatchway start {wanted} brings it back")
