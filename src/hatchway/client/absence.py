"""An engine that went away: asked again until another one answers, which its keeper starts within seconds.

What runs goes on meanwhile, so whoever watches loses nothing by being patient. Not so when the home was taken down:
then the folder of its sockets is gone too.
"""

from __future__ import annotations

from pathlib import Path

from hatchway.errors import EngineUnavailable

RETRY_S = 0.1
PATIENCE_S = 60.0  # a keeper whose engines keep failing tries every ten seconds


class Absence:
    """Whether an engine that went away is still worth waiting for. `now` is monotonic."""

    def __init__(self, socket: Path, patience_s: float = PATIENCE_S) -> None:
        self._socket = socket
        self._patience_s = patience_s
        self._since: float | None = None

    def end(self) -> None:
        """The engine answered."""
        self._since = None

    def pause_s(self, error: EngineUnavailable, now: float) -> float:
        """How long to wait before asking again. Raises EngineUnavailable when nobody will answer any more."""
        if not self._socket.parent.is_dir():
            raise EngineUnavailable("hatchway was taken down", hint="bring it back with: hatchway up") from error
        self._since = now if self._since is None else self._since
        if now - self._since >= self._patience_s:
            raise error
        return RETRY_S
