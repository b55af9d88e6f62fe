"""`hatchway down`: stop everything. What is deployed comes back with the next `hatchway up`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hatchway.cli.connect import settings_here
from hatchway.cli.output import Output
from hatchway.cli.targets import check_local
from hatchway.errors import EngineUnavailable, HatchwayError

if TYPE_CHECKING:
    from hatchway.settings import Settings

EXAMPLES = ("hatchway down",)

STOP_TIMEOUT_S = 90.0  # replicas may finish their requests first


def down() -> None:
    """Stop everything; hatchway up brings it back.

    The engine, the gateway and all replicas end; what is deployed stays deployed.
    """
    from hatchway import keeper

    check_local("down", "ends what runs on this machine")
    out = Output.open()
    settings = settings_here()
    if not keeper.is_running(settings) and not keeper.is_anything_left(settings):
        out.line("hatchway is not running")
        return
    apis, is_asked = ask_engine(settings, out) if keeper.is_running(settings) else (0, False)
    keeper.stop(settings, timeout_s=STOP_TIMEOUT_S if is_asked else 0)
    out.line(f"hatchway is down{what_comes_back(settings, apis)}")


def ask_engine(settings: Settings, out: Output) -> tuple[int, bool]:
    """Ask it to end everything. Returns how many APIs there are, as far as it can tell, and whether it will do it."""
    from hatchway.client import Client

    apis = 0
    with Client(socket=settings.engine_socket) as client:
        with suppress(HatchwayError):  # one that cannot even say how it is can still be asked to end
            apis = sum(count for phase, count in client.status().apis.items() if phase != "deleting")
        try:
            client.shut_down("down")
        except EngineUnavailable:
            out.note("the engine does not answer; ending its processes")
        except HatchwayError as error:
            out.note(f"{error.message}; ending its processes")
        else:
            return apis, True
    return apis, False


def what_comes_back(settings: Settings, apis: int) -> str:
    if not apis:
        return ""
    if not settings.database.exists():
        return f"; nothing comes back, because {settings.home} was removed"
    return f"; {apis} API{' comes' if apis == 1 else 's come'} back with: hatchway up"
