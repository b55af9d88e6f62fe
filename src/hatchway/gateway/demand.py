"""What the activator holds, as the engine sees it: followed over the activator's reports socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

_RECONNECT_S = 0.1
_LONGEST_REPORT_BYTES = 16 * 1024 * 1024


class Demand:
    """`on_wanted(api)` is called when requests begin to wait for an API, also for those that began without us."""

    def __init__(self, socket: Path, on_wanted: Callable[[str], None]) -> None:
        self._socket = socket
        self._on_wanted = on_wanted
        self._waiting: Mapping[str, int] = {}

    def waiting(self) -> Mapping[str, int]:
        """API -> requests held for it now; an API for which none is held is missing."""
        return self._waiting

    async def follow(self) -> None:
        """Listen to the activator, and to its successors, until cancelled."""
        while True:
            with contextlib.suppress(OSError, ValueError):
                await self._listen()
            self._take({})
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=_LONGEST_REPORT_BYTES)
        try:
            while line := await reader.readline():
                self._take(json.loads(line))
        finally:
            writer.close()

    def _take(self, waiting: Mapping[str, int]) -> None:
        new = waiting.keys() - self._waiting.keys()
        self._waiting = waiting
        for api in sorted(new):
            self._on_wanted(api)
