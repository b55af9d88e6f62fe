"""An engine that went away: asked again until another one answers, which its keeper starts within seconds.

What runs goes on meanwhile, so whoever watches loses nothing by being patient.
"""

from __future__ import annotations

from hatchway.client.ways import Way
from hatchway.errors import EngineUnavailable

PATIENCE_S = 60.0  # a keeper whose engines keep failing tries every ten seconds


class Absence:
    """Whether an engine that went away is still worth waiting for. `now` is monotonic."""

    def __init__(self, way: Way, patience_s: float = PATIENCE_S) -> None:
        self._way = way
        self._patience_s = patience_s
        self._since: float | None = None

    def end(self) -> None:
        """The engine answered."""
        self._since = None

    def pause_s(self, error: EngineUnavailable, now: float) -> float:
        """How long to wait before asking again. Raises EngineUnavailable when nobody will answer any more."""
        if (taken_down := self._way.taken_down()) is not None:
            raise taken_down from error
        self._since = now if self._since is None else self._since
        if now - self._since >= self._patience_s:
            raise error
        return self._way.retry_s
