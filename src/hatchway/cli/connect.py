"""From a command to the control plane of its target; the engine of this machine is started when needed, and an older
one replaced by ours in place.

`engine` is for commands that need it; `engine_if_used` for those that only read, which do not start an engine on a
home where nothing was ever deployed.
"""

from __future__ import annotations

import os
import re
import select
import sys
from typing import TYPE_CHECKING

from hatchway import __version__
from hatchway.cli.output import Cell, Output
from hatchway.cli.targets import target_here
from hatchway.errors import EngineUnavailable, NotFound

if TYPE_CHECKING:
    from hatchway.client import Client
    from hatchway.settings import Settings

START_TIMEOUT_S = 60.0
HANDOVER_TIMEOUT_S = 30.0


def settings_here() -> Settings:
    from hatchway.settings import Settings

    return Settings.from_environment(os.environ)


def engine(out: Output, settings: Settings | None = None) -> Client:
    """A client of the target's control plane. Raises EngineUnavailable, NotFound for a target that is not known.

    That of this machine, of the home in `settings` if they are given, is started first if need be.
    """
    from hatchway import keeper
    from hatchway.client import Client

    if settings is None and (elsewhere := client_elsewhere(out)) is not None:
        return elsewhere
    settings = settings or settings_here()
    if keeper.has_lost_home(settings):
        raise EngineUnavailable(
            f"{settings.home} was removed while hatchway runs in it",
            hint="end what is left with `hatchway down`, then deploy again",
        )
    was_running = keeper.is_running(settings)
    if not was_running:
        out.note(Cell("starting the engine …", "dim"))
    keeper.start(settings, timeout_s=START_TIMEOUT_S)  # also waits for one that is on its way
    client = Client(socket=settings.engine_socket)
    match_versions(client, settings, out)
    if not was_running:
        announce_port(client, settings, out)
    return client


def client_elsewhere(out: Output) -> Client | None:
    """A client of a target that is not this machine, and a line that names it; None when this machine is meant."""
    from hatchway.client import Client
    from hatchway.targets import Local

    target = target_here()
    if isinstance(target, Local):
        return None
    out.note(Cell(f"on {target.name} ({target.place})", "dim"))
    return Client(env=target.name)


def announce_port(client: Client, settings: Settings, out: Output) -> None:
    """Say so when the gateway or the dashboard is not where everybody looks for it first."""
    from hatchway.settings import DEFAULT_DASHBOARD_PORT, DEFAULT_GATEWAY_PORT

    status = client.status()
    port = status.gateway.port
    if settings.gateway_port is None and port != DEFAULT_GATEWAY_PORT:
        out.note(f"note: the gateway listens on port {port}, because port {DEFAULT_GATEWAY_PORT} was taken")
    if status.dashboard is None or settings.dashboard_port is not None:
        return
    if not status.dashboard.url.endswith(f":{DEFAULT_DASHBOARD_PORT}"):
        out.note(f"note: the dashboard is at {status.dashboard.url}, because port {DEFAULT_DASHBOARD_PORT} was taken")


def engine_if_used(out: Output) -> Client | None:
    """Like `engine`, but None when nothing was ever deployed in this home."""
    from hatchway import keeper

    if (elsewhere := client_elsewhere(out)) is not None:
        return elsewhere
    settings = settings_here()
    if not settings.database.exists() and not keeper.is_running(settings):
        return None
    return engine(out, settings)


def engine_of(name: str, out: Output) -> Client:
    """The engine that knows API `name`. Raises NotFound when nothing was ever deployed in this home."""
    client = engine_if_used(out)
    if client is None:
        raise NotFound(f"there is no API named {name}", hint="nothing is deployed yet: hatchway deploy")
    return client


def match_versions(client: Client, settings: Settings, out: Output) -> None:
    """Hand an older engine's work over to one of our version; carry on with a newer one."""
    found = client.status().engine
    if parse_version(found.version) == parse_version(__version__):
        return
    if parse_version(found.version) > parse_version(__version__):
        out.note(f"note: the engine is hatchway {found.version}, newer than this command line ({__version__})")
        return
    out.note(Cell(f"replacing the engine {found.version} by {__version__} …", "dim"))
    replace(client, found.pid, settings)


def replace(client: Client, engine_pid: int, settings: Settings) -> None:
    """Let the engine hand its work over to one that our Python runs, and wait until that one answers.

    Raises EngineUnavailable.
    """
    from hatchway import keeper

    handle = os.pidfd_open(engine_pid)  # opened first: it must be the old one that is waited for
    try:
        client.shut_down("handover", python=sys.executable)
        ended, _, _ = select.select([handle], [], [], HANDOVER_TIMEOUT_S)
    finally:
        os.close(handle)
    if not ended:
        raise EngineUnavailable(f"the older engine (pid {engine_pid}) does not end", hint="end it with: hatchway down")
    keeper.start(settings, timeout_s=START_TIMEOUT_S)


def parse_version(text: str) -> tuple[int, ...]:
    """The release numbers of a version: "1.2.3rc1" -> (1, 2, 3)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
