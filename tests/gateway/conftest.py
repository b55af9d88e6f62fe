"""A gateway with a real Envoy in a home of its own, and stub replicas behind it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hatchway.errors import GatewayError
from hatchway.gateway.envoy import Limits
from hatchway.gateway.gateway import Gateway
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.gateway.served import Served
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.gateway.stub_replica import Answer, Request, StubReplica

TIMEOUT_S = 20.0


@pytest.fixture
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    made = Settings(home=folder / "home", runtime_dir=folder / "run", gateway_port=0)
    made.prepare()
    made.gateway_dir.mkdir()
    yield made
    end_all(made.home_hash, grace_s=0)
    shutil.rmtree(folder)


class Bell:
    """Rung when something has happened; each ring wakes all who wait for one then."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await self._rung.wait()


@dataclass(frozen=True)
class Running:
    """A started gateway whose `run` is a task, and a client for it. `changed` rings with its `on_change`."""

    gateway: Gateway
    run: asyncio.Task[None]
    client: httpx.AsyncClient
    settings: Settings
    changed: Bell

    async def serve(self, *routes: Route) -> None:
        """Apply a table of these and wait until Envoy has it."""
        self.gateway.apply(RouteTable(routes))
        for route in routes:
            await self.settled(route.api)

    async def settled(self, api: str) -> None:
        """Until Envoy has the API's newest configuration, or has removed it. Raises what ended `run`, GatewayError."""
        await self._or_fail(
            self.changed.until(lambda: self.gateway.settled(api) or self.gateway.rejection(api) is not None)
        )
        if (message := self.gateway.rejection(api)) is not None:
            raise GatewayError(f"Envoy refused the configuration of {api}: {message}")

    async def _or_fail(self, waiting: Awaitable[None]) -> None:
        task = asyncio.ensure_future(waiting)
        await asyncio.wait([task, self.run], return_when=asyncio.FIRST_COMPLETED)
        if self.run.done():
            task.cancel()
            await self.run
        await task


@asynccontextmanager
async def running(
    settings: Settings,
    on_wanted: Callable[[str], None] = lambda api: None,
    on_end: Callable[[Served], None] = lambda served: None,
    *,
    limits: Limits | None = None,
) -> AsyncIterator[Running]:
    """Leaves Envoy and the activator running, as an engine does that is replaced."""
    changed = Bell()
    gateway = Gateway(settings, lambda api: changed.ring(), on_wanted, on_end, limits=limits)
    await gateway.start()
    run = asyncio.create_task(gateway.run())
    try:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=TIMEOUT_S) as client:
            yield Running(gateway, run, client, settings, changed)
    finally:
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Running]:
    async with running(settings) as made:
        yield made


@pytest.fixture
async def replicas(settings: Settings) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield Replicas(settings, stack)


class Replicas:
    """Starts stub replicas that end with the test."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._n_started = 0

    async def start(self, answer: Answer | None = None) -> StubReplica:
        """By default it answers with the request line."""
        self._n_started += 1
        address = str(self._settings.replica_socket(f"stub{self._n_started}", "data"))
        return await self._stack.enter_async_context(StubReplica(address, answer or echo).listening())

    async def come_up(self, api: str, answer: Answer | None = None, *, is_ready: bool = True) -> StubReplica:
        """Also with a launch file and a control socket, by which the activator finds it."""
        replica_id = f"stub{self._n_started + 1}"
        folder = self._settings.replicas_dir / replica_id
        folder.mkdir()
        (folder / "launch.json").write_text(json.dumps({"api": api}))

        async def say_ready(request: Request) -> None:
            await request.respond(200 if is_ready else 503)

        control = StubReplica(str(self._settings.replica_socket(replica_id, "ctl")), say_ready)
        await self._stack.enter_async_context(control.listening())
        return await self.start(answer)


async def echo(request: Request) -> None:
    await request.read()
    await request.respond(200, f"{request.method} {request.target}".encode())


async def until(condition: Callable[[], bool]) -> None:
    """For what other processes do: they have no event for us."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def resident_mib(pid: int | None, *, peak: bool = False) -> int:
    with open(f"/proc/{pid}/status") as file:
        values = dict(line.split(":", 1) for line in file)
    return int(values["VmHWM" if peak else "VmRSS"].split()[0]) // 1024


def a_route(api: str, *replicas: StubReplica, **changes: object) -> Route:
    endpoints = tuple(Endpoint(replica.address) for replica in replicas)
    return Route(**{"api": api, "endpoint": f"/{api}", "endpoints": endpoints, **changes})  # type: ignore[arg-type]
