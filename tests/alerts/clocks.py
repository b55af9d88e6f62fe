"""A clock that jumps over every sleep, and notes how long it would have been."""

from __future__ import annotations

import asyncio


class JumpingClock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.at = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds
        await asyncio.sleep(0)


class StandingClock(JumpingClock):
    """Who sleeps by it sleeps until the test ends."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.Event().wait()
