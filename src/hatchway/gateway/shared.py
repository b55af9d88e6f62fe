"""One reading for everybody who asks at about the same time.

Every API that drains looks ten times a second, and each look at Envoy lists all clusters. Who asks gets a reading that
began after the question: an older one may be from before Envoy heard that a replica drains, and miss a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """`read` is called at most once at a time, and begins at least `spacing_s` after it did the last time."""

    def __init__(self, read: Callable[[], Awaitable[T]], *, spacing_s: float) -> None:
        self._read = read
        self._spacing_s = spacing_s
        self._began = -spacing_s
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Raises what `read` raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running), name="shared reading")
            self._next.add_done_callback(_note_error)
        return await asyncio.shield(self._next)

    async def _read_after(self, former: asyncio.Task[T] | None) -> T:
        if former is not None:
            await asyncio.wait([former])
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self._began + self._spacing_s - now))
        # Whoever asks from here on gets the next one.
        self._running, self._next = self._next, None
        self._began = asyncio.get_running_loop().time()
        return await self._read()


def _note_error(done: asyncio.Task[T]) -> None:
    """It is raised where somebody still waits for it; where nobody does, it matters to nobody."""
    if not done.cancelled():
        done.exception()
