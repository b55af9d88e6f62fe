"""How an API is named on the command line, and how its name is completed by the shell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.errors import HatchwayError

if TYPE_CHECKING:
    from hatchway.settings import Settings

COMPLETION_TIMEOUT_S = 0.5  # a shell that waits longer for a TAB feels broken


def api_name(text: str) -> str:
    """The name as the engine knows it: names have no "_", so `recommendation_engine` means recommendation-engine."""
    return text.strip().rstrip("/").replace("_", "-")


def complete_api(incomplete: str) -> list[str]:
    """Names of the deployed APIs; nothing, quickly and silently, when the engine does not run."""
    from http.client import HTTPException

    from hatchway import targets
    from hatchway.settings import Settings

    try:
        if (
            targets.read(Settings.from_environment(os.environ).targets_file).chosen(None, os.environ).name
            != targets.LOCAL
        ):
            return []  # a cluster would take too long to answer, and the names of this machine would be wrong ones
        names = _names(Settings.from_environment(os.environ))
    except (HatchwayError, OSError, HTTPException, ValueError, LookupError, TypeError):
        return []  # a traceback in the middle of a command line helps nobody
    # A shell offers only what begins with the letters typed so far, so who types "_" is answered with "_".
    spelt = [name.replace("-", "_") for name in names] if "_" in incomplete else names
    return [name for name in spelt if name.startswith(incomplete)]


def _names(settings: Settings) -> list[str]:
    """By hand rather than with the client, whose imports take longer than the answer."""
    import json
    import socket
    from http.client import HTTPConnection

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(COMPLETION_TIMEOUT_S)
        stream.connect(str(settings.engine_socket))
        connection = HTTPConnection("engine")
        connection.sock = stream
        connection.request("GET", "/v1/apis")
        return [str(api["name"]) for api in json.load(connection.getresponse())]


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of an API.", autocompletion=complete_api, show_default=False)
]
