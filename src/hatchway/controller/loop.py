"""One key, one worker: reconciles of one API never overlap, those of different APIs run side by side.

A worker looks again when it is nudged, when the last reconcile asked for it, or after `resync_s`. An error slows
only its own key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hatchway.delays import GrowingDelay

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 30.0


class Loop:
    """`reconcile(key)` returns when to look again in seconds, or None when the key is gone."""

    def __init__(self, reconcile: Callable[[str], Awaitable[float | None]], *, resync_s: float) -> None:
        self._reconcile = reconcile
        self._resync_s = resync_s
        self._wakeups: dict[str, asyncio.Event] = {}
        self._group: asyncio.TaskGroup | None = None

    def nudge(self, key: str) -> None:
        """Have `key` looked at now. May be called before `run`."""
        wakeup = self._wakeups.get(key)
        if wakeup is None:
            wakeup = self._wakeups[key] = asyncio.Event()
            if self._group is not None:
                self._group.create_task(self._work(key, wakeup), name=f"reconcile {key}")
        wakeup.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for key, wakeup in self._wakeups.items():
                group.create_task(self._work(key, wakeup), name=f"reconcile {key}")
            await asyncio.Event().wait()

    async def _work(self, key: str, wakeup: asyncio.Event) -> None:
        backoff = GrowingDelay(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        while True:
            wakeup.clear()
            try:
                look_again_s = await self._reconcile(key)
            except Exception:  # one API's trouble must not stop the others
                look_again_s = backoff.after()
                log.exception("reconcile of %s failed; trying again in %.1f s", key, look_again_s)
            else:
                backoff.reset()
            if look_again_s is None and not wakeup.is_set():
                del self._wakeups[key]
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(min(look_again_s or 0.0, self._resync_s)):
                    await wakeup.wait()
