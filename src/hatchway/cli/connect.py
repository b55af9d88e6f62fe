"""From a command to the engine: start it when needed, and replace an older one by ours in place.

`engine` is for commands that need it; `engine_if_used` for those that only read, which do not start an engine on a
home where nothing was ever deployed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hatchway import __version__
from hatchway.cli.output import Cell, Output
from hatchway.errors import NotFound
from hatchway.settings import Settings

if TYPE_CHECKING:
    from hatchway.client import Client

START_TIMEOUT_S = 60.0


def settings_here() -> Settings:
    return Settings.from_environment(os.environ)


def engine(out: Output, settings: Settings | None = None) -> Client:
    """A client of the running engine, which is started first if need be. Raises EngineUnavailable."""
    from hatchway import keeper
    from hatchway.client import Client

    settings = settings or settings_here()
    if not keeper.is_running(settings):
        out.note(Cell("starting the engine …", "dim"))
        keeper.start(settings, timeout_s=START_TIMEOUT_S)
    client = Client(socket=settings.engine_socket)
    match_versions(client, settings, out)
    return client


def engine_if_used(out: Output) -> Client | None:
    """Like `engine`, but None when nothing was ever deployed in this home."""
    from hatchway import keeper

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
    from hatchway import keeper

    running = client.status().engine.version
    if parse_version(running) == parse_version(__version__):
        return
    if parse_version(running) > parse_version(__version__):
        out.note(f"note: the engine is hatchway {running}, newer than this command line ({__version__})")
        return
    out.note(Cell(f"replacing the engine {running} by {__version__} …", "dim"))
    client.shut_down("handover", python=sys.executable)
    keeper.start(settings, timeout_s=START_TIMEOUT_S)


def parse_version(text: str) -> tuple[int, ...]:
    """The release numbers of a version: "1.2.3rc1" -> (1, 2, 3)."""
    numbers = []
    for part in text.split("."):
        digits = "".join(char for char in part if char.isdigit())
        if not part[:1].isdigit():
            break
        numbers.append(
            int(digits if part.isdigit() else part[: next(i for i, c in enumerate(part) if not c.isdigit())])
        )
    return tuple(numbers)
