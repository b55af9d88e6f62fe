"""`hatchway down`: stop everything. What is deployed comes back with the next `hatchway up`."""

from __future__ import annotations

from hatchway.cli.connect import settings_here
from hatchway.cli.output import Output
from hatchway.errors import EngineUnavailable

EXAMPLES = ("hatchway down",)

STOP_TIMEOUT_S = 90.0  # replicas may finish their requests first


def down() -> None:
    """Stop everything; hatchway up brings it back.

    The engine, the gateway and all replicas end; what is deployed stays deployed.
    """
    from hatchway import keeper
    from hatchway.client import Client

    out = Output.open()
    settings = settings_here()
    if not keeper.is_running(settings):
        out.line("hatchway is not running")
        return
    apis = 0
    try:
        with Client(socket=settings.engine_socket) as client:
            apis = sum(count for phase, count in client.status().apis.items() if phase != "deleting")
            client.shut_down("down")
    except EngineUnavailable:
        out.note("the engine does not answer; ending its processes")
    keeper.stop(settings, timeout_s=STOP_TIMEOUT_S)
    kept = f"; {apis} API{' comes' if apis == 1 else 's come'} back with: hatchway up" if apis else ""
    out.line(f"hatchway is down{kept}")
