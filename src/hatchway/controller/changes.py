"""Tells watchers that an API changed. Carries no state: whoever is woken asks for the newest one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator


class Changes:
    """A counter per API that can be waited on; changes between two looks are seen as one."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def publish(self, api: str) -> None:
        for changed in self._watchers.get(api, ()):
            changed.set()

    async def watch(self, api: str) -> AsyncIterator[None]:
        """Yields at once, then after each change."""
        changed = asyncio.Event()
        changed.set()
        self._watchers[api].add(changed)
        try:
            while True:
                await changed.wait()
                changed.clear()
                yield
        finally:
            self._watchers[api].discard(changed)
            if not self._watchers[api]:
                del self._watchers[api]
