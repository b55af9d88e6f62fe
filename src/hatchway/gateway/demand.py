"""What activators hold, as the engine or the operator sees it: followed over the reports of one.

On one machine they come over the activator's own socket, in a cluster through the agent beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

_RECONNECT_S = 0.1
_LONGEST_REPORT_BYTES = 16 * 1024 * 1024

# Opened anew after each end; lines of JSON. It may raise OSError or ValueError when nobody answers.
Reports = Callable[[], AbstractAsyncContextManager[AsyncIterator[str | bytes]]]


def reports_at(socket: Path) -> Reports:
    """An activator's own."""

    @asynccontextmanager
    async def reports() -> AsyncIterator[AsyncIterator[bytes]]:
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=_LONGEST_REPORT_BYTES)
        try:
            yield reader
        finally:
            writer.close()

    return reports


class Demand:
    """`on_wanted(api)` is called when requests begin to wait for an API, also for those that began without us."""

    def __init__(self, reports: Reports, on_wanted: Callable[[str], None]) -> None:
        self._reports = reports
        self._on_wanted = on_wanted
        self._waiting: Mapping[str, int] = {}
        self._changed = asyncio.Event()  # replaced whenever it is set

    def waiting(self) -> Mapping[str, int]:
        """API -> requests held for it now; an API for which none is held is missing."""
        return self._waiting

    async def wait_change(self) -> None:
        """Return after the next report."""
        await self._changed.wait()

    async def follow(self) -> None:
        """Listen to the activator, and to its successors, until cancelled."""
        while True:
            with contextlib.suppress(OSError, ValueError):
                async with self._reports() as lines:
                    async for line in lines:
                        self._take(json.loads(line))
            self._take({})
            await asyncio.sleep(_RECONNECT_S)

    def _take(self, waiting: Mapping[str, int]) -> None:
        new = waiting.keys() - self._waiting.keys()
        self._waiting = waiting
        self._changed.set()
        self._changed = asyncio.Event()
        for api in sorted(new):
            self._on_wanted(api)
