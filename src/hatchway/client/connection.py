"""What every request to a control API has in common: who asks, and what an answer that is an error says."""

from __future__ import annotations

import getpass
import json
import os
import socket
from pathlib import Path
from urllib.parse import quote

from hatchway.errors import EngineUnavailable, from_dict
from hatchway.spec.requests import HEADER_BY

HOST = "engine"  # a name for the Host header: the socket decides who is asked
ANSWER_TIMEOUT_S = 60.0


def is_listening(path: Path) -> bool:
    """Whether somebody takes connections: a look that costs less, and leaves less behind, than a request that fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # so many do that one more has to wait
            return True
        except OSError:
            return False
        return True


def user_here() -> str:
    """user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without an entry in the list of users
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def identity() -> dict[str, str]:
    """The header that says who we are, for the history of what was done."""
    return {HEADER_BY: quote(user_here(), safe="@")}


def raise_for(status: int, body: bytes) -> None:
    """Raises the error that a complete answer tells of."""
    if 200 <= status < 300:
        return
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode(errors="replace")
        raise EngineUnavailable(f"the control API answered {status}: {text}") from None
    raise from_dict(error)
