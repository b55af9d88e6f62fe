"""Tells watchers that an API changed. Carries no state: whoever is woken asks for the newest one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Changed:
    """What one watcher of all APIs has not seen yet."""

    names: set[str] = field(default_factory=set)
    event: asyncio.Event = field(default_factory=asyncio.Event)


class Changes:
    """A counter per API that can be waited on; changes between two looks are seen as one."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._of_all: set[_Changed] = set()

    def publish(self, api: str) -> None:
        for changed in self._watchers.get(api, ()):
            changed.set()
        for all_changed in self._of_all:
            all_changed.names.add(api)
            all_changed.event.set()

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

    async def watch_all(self, spacing_s: float) -> AsyncIterator[set[str] | None]:
        """Yields None at once, then the names of APIs that changed, at most every `spacing_s`."""
        changed = _Changed()
        self._of_all.add(changed)
        try:
            yield None
            while True:
                await changed.event.wait()
                changed.event.clear()
                names, changed.names = changed.names, set()
                yield names
                await asyncio.sleep(spacing_s)
        finally:
            self._of_all.discard(changed)
