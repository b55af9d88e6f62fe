"""What the engine hears of the activator: at once, after a restart of either, and never of a dead one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from hatchway.gateway.activator.reports import Reports
from hatchway.gateway.demand import Demand, reports_at
from hatchway.settings import Settings
from tests.gateway.conftest import until


@asynccontextmanager
async def following(settings: Settings, wanted: list[str]) -> AsyncIterator[Demand]:
    demand = Demand(reports_at(settings.activator_reports_socket), wanted.append)
    task = asyncio.create_task(demand.follow())
    try:
        yield demand
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def reporting(settings: Settings) -> AsyncIterator[Reports]:
    reports = Reports()
    path = str(settings.activator_reports_socket)
    server = await asyncio.get_running_loop().create_unix_server(reports.connect, path)
    try:
        yield reports
    finally:
        server.close()


async def test_an_api_is_wanted_whenever_requests_begin_to_wait_for_it(settings: Settings) -> None:
    wanted: list[str] = []
    async with reporting(settings) as reports, following(settings, wanted) as demand:
        for held in ({"iris": 1}, {"iris": 2, "other": 1}, {"other": 1}, {"iris": 1, "other": 1}, {}):
            reports.tell(held)
            await until(lambda held=held: demand.waiting() == held)  # type: ignore[misc]
    assert wanted == ["iris", "other", "iris"]


async def test_an_engine_that_comes_late_learns_what_is_held(settings: Settings) -> None:
    wanted: list[str] = []
    async with reporting(settings) as reports:
        reports.tell({"iris": 3})
        async with following(settings, wanted) as demand:
            await until(lambda: demand.waiting() == {"iris": 3})
    assert wanted == ["iris"]


async def test_of_a_burst_of_changes_the_last_one_is_told(settings: Settings) -> None:
    async with reporting(settings) as reports, following(settings, []) as demand:
        reports.tell({"iris": 1})
        await until(lambda: demand.waiting() == {"iris": 1})
        for number in range(1000):
            reports.tell({"iris": number})
        await until(lambda: demand.waiting() == {"iris": 999})


async def test_nothing_is_held_by_an_activator_that_is_gone_and_its_successor_is_heard(settings: Settings) -> None:
    n_connections = 0
    go_on = asyncio.Event()

    async def tell_and_die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_connections
        n_connections += 1
        writer.write(b'{"iris": 1}\n')
        await go_on.wait()
        writer.close()

    wanted: list[str] = []
    server = await asyncio.start_unix_server(tell_and_die, str(settings.activator_reports_socket))
    async with server, following(settings, wanted) as demand:
        await until(lambda: demand.waiting() == {"iris": 1})
        go_on.set()
        await until(lambda: demand.waiting() == {})
        await until(lambda: n_connections == 2)
        await until(lambda: wanted == ["iris", "iris"])


async def test_a_report_on_many_apis_is_read(settings: Settings) -> None:
    held = {f"a-rather-long-name-of-an-api-{number}": 1 for number in range(5000)}
    async with reporting(settings) as reports, following(settings, []) as demand:
        reports.tell(held)
        await until(lambda: demand.waiting() == held)
