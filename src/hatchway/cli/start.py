"""`hatchway start`: bring a stopped API back, or try a failed one again, and wait until it is live."""

from __future__ import annotations

from hatchway.cli.connect import engine_of
from hatchway.cli.finishes import finish_one
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Output

EXAMPLES = ("hatchway start iris",)


def start(name: NameArgument) -> None:
    """Start a stopped or failed API, and wait until it is live."""
    from hatchway.spec.status import DeployResult

    out = Output.open()
    wanted = api_name(name)
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
        finish_one(out, client, started, wait=True, timeout_s=None)
