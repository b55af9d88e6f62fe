"""Standing for election by a Lease, and leading while it is ours. Deciding is in `leadership.py`.

    run(lead)   waits until we are elected, runs lead(), ends it when the lease is lost, and begins anew
    check()     before every write of a leader: raises NotLeading once another operator may have begun

When we are told to end, the leader's part ends first and the lease is given back after that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.resources import LEASES, Json
from hatchway.operator.leadership import NAME, Sighting, Timing, claim, free_in_s, give_back, holder, sight

log = logging.getLogger(__name__)

GIVE_BACK_S = 3.0


class NotLeading(Exception):
    """Another operator may lead by now: nothing may be written."""


def boot_clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """`identity` is of this process alone. `server` should be nobody else's: renewals wait behind no other calls."""

    def __init__(
        self,
        server: ApiServer,
        identity: str,
        timing: Timing,
        *,
        clock: Callable[[], float] = boot_clock,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._wall_clock = wall_clock
        self._lease: Json | None = None
        self._seen: Sighting | None = None
        self._until = -math.inf  # of our clock: until then nobody else begins

    @property
    def is_leading(self) -> bool:
        return self._clock() < self._until

    def check(self) -> None:
        """Raises NotLeading."""
        if not self.is_leading:
            raise NotLeading("another operator may lead by now")

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled. What `lead` raises is raised; that it returns gives the lease back, for others or for us."""
        while True:
            await self._win()
            log.info("%s leads", self._identity)
            await self._reign(lead)
            log.info("%s leads no more", self._identity)

    # --- a follower --------------------------------------------------------------------------------------
    async def _win(self) -> None:
        while True:
            pause_s = self._timing.look_s
            with suppress(Refused, Unreachable, TimeoutError):  # the next look will tell
                async with asyncio.timeout(self._timing.try_s):
                    await self._look()
                    free_s = free_in_s(self._lease, self._seen, self._identity, self._clock(), self._timing)
                    if free_s <= 0:
                        await self._claim()
                        return
                pause_s = min(pause_s, free_s)
            await asyncio.sleep(pause_s)

    async def _look(self) -> None:
        self._lease = await self._server.find(LEASES, NAME)
        if self._lease is not None:
            self._seen = sight(self._seen, self._lease, self._clock())

    async def _claim(self) -> None:
        """Take or renew it. Raises Refused when somebody else was faster."""
        began = self._clock()
        wanted = claim(self._lease, self._identity, self._wall_clock(), self._timing)
        write = self._server.create if self._lease is None else self._server.replace
        self._lease = await write(wanted)
        self._until = began + self._timing.lead_s

    # --- a leader ----------------------------------------------------------------------------------------
    async def _reign(self, lead: Callable[[], Awaitable[None]]) -> None:
        leading = asyncio.ensure_future(lead())
        keeping = asyncio.create_task(self._keep(), name="keep the lease")
        try:
            await asyncio.wait({leading, keeping}, return_when=asyncio.FIRST_COMPLETED)
            is_lost = not self.is_leading
        finally:
            # In this order: it is given back when nobody acts on it any more.
            await _end(leading)
            await _end(keeping)
            await self._give_back()
        if not keeping.cancelled():
            keeping.result()
        if not leading.cancelled() and (problem := leading.exception()) is not None:
            if not is_lost:
                raise problem
            log.info("what a leader was at when it lost its lease: %r", problem)

    async def _keep(self) -> None:
        """Renew it until it is lost."""
        while (left_s := self._until - self._clock()) > 0:
            await asyncio.sleep(min(left_s, self._timing.look_s))
            left_s = self._until - self._clock()  # less than was slept for, if we were stopped meanwhile
            if left_s > 0:
                with suppress(Refused, Unreachable, TimeoutError):
                    async with asyncio.timeout(min(left_s, self._timing.try_s)):
                        await self._renew()
        log.warning("%s could not renew its lease", self._identity)

    async def _renew(self) -> None:
        """On what we wrote last; if that is not what is there, on what is, as long as it is ours."""
        try:
            await self._claim()
        except Refused:
            await self._look()
            if holder(self._lease) != self._identity:
                self._until = -math.inf
            raise

    async def _give_back(self) -> None:
        """Best effort: otherwise others wait until it has run out.

        Of what is there now: the last renewal may have been cut off after it had been written.
        """
        if not self.is_leading:
            return
        self._until = -math.inf
        with suppress(Refused, Unreachable, TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                await self._look()
                if self._lease is not None and holder(self._lease) == self._identity:
                    await self._server.replace(give_back(self._lease))


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
