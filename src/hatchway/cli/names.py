"""How an API is named on the command line, and how its name is completed by the shell."""

from __future__ import annotations

import os
from typing import Annotated

import typer

COMPLETION_TIMEOUT_S = 0.5  # a shell that waits longer for a TAB feels broken


def api_name(text: str) -> str:
    """The name as the engine knows it: names have no "_", so `recommendation_engine` means recommendation-engine."""
    return text.strip().rstrip("/").replace("_", "-")


def complete_api(incomplete: str) -> list[str]:
    """Names of the deployed APIs; nothing, quickly and silently, when the engine does not run."""
    from hatchway.client import Client
    from hatchway.settings import Settings

    try:
        settings = Settings.from_environment(os.environ)
        if not settings.engine_socket.exists():
            return []
        with Client(socket=settings.engine_socket, timeout_s=COMPLETION_TIMEOUT_S) as client:
            names = [api.name for api in client.list()]
    except Exception:  # noqa: BLE001  a traceback in the middle of a command line helps nobody
        return []
    return [name for name in names if name.startswith(api_name(incomplete))]


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of an API.", autocompletion=complete_api, show_default=False)
]
