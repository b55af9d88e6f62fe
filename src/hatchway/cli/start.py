"""`hatchway start`: bring a stopped API back."""

from __future__ import annotations

from hatchway.cli.connect import engine_of
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Output

EXAMPLES = ("hatchway start iris",)


def start(name: NameArgument) -> None:
    """Start an API that was stopped, on the revision it had."""
    out = Output.open()
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        client.start(wanted)
    out.line(f"{wanted} is starting; follow it with: hatchway get {wanted} --watch")
