"""A reading that several share, and who must have one of their own."""

from __future__ import annotations

import asyncio

import pytest

from hatchway.gateway.shared import Shared


class Meter:
    """Counts readings; each ends when the gate is open."""

    def __init__(self) -> None:
        self.n_begun = 0
        self.gate = asyncio.Event()
        self.has_begun = asyncio.Event()

    async def read(self) -> int:
        self.n_begun += 1
        reading = self.n_begun
        self.has_begun.set()
        await self.gate.wait()
        return reading


async def test_who_asks_together_is_answered_together() -> None:
    meter = Meter()
    meter.gate.set()
    shared = Shared(meter.read, spacing_s=0)
    assert await asyncio.gather(*(shared.get() for _ in range(5))) == [1] * 5


async def test_who_asks_during_a_reading_gets_the_next_one_and_shares_it() -> None:
    meter = Meter()
    shared = Shared(meter.read, spacing_s=0)
    first = asyncio.create_task(shared.get())
    await meter.has_begun.wait()
    later = [asyncio.create_task(shared.get()) for _ in range(3)]
    meter.gate.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 3


async def test_one_who_gives_up_takes_the_reading_from_nobody() -> None:
    meter = Meter()
    shared = Shared(meter.read, spacing_s=0)
    impatient, patient = (asyncio.create_task(shared.get()) for _ in range(2))
    await meter.has_begun.wait()
    impatient.cancel()
    meter.gate.set()
    assert await patient == 1


async def test_an_error_is_everybodys_and_the_next_reading_is_tried() -> None:
    answers = [ValueError("Envoy does not answer"), None]

    async def read() -> str:
        error = answers.pop(0)
        if error is not None:
            raise error
        return "fine"

    shared = Shared(read, spacing_s=0)
    found = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
    assert [type(one) for one in found] == [ValueError] * 2
    assert await shared.get() == "fine"


async def test_readings_keep_their_distance() -> None:
    meter = Meter()
    meter.gate.set()
    shared = Shared(meter.read, spacing_s=3600)
    assert await shared.get() == 1
    soon = asyncio.create_task(shared.get())
    done, _ = await asyncio.wait([soon], timeout=0.01)
    assert (done, meter.n_begun) == (set(), 1)
    soon.cancel()


async def test_nobody_is_told_of_an_error_that_nobody_waited_for() -> None:
    gate = asyncio.Event()

    async def read() -> None:
        await gate.wait()
        raise ValueError

    shared = Shared(read, spacing_s=0)
    asking = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    asking.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
