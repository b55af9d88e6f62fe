"""The life of the Envoy process: adopted, replaced, started again, drained; and its port."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from hatchway.errors import GatewayError
from hatchway.gateway.gateway import Gateway
from hatchway.gateway.process import EnvoyProcess, find_envoy, n_workers
from hatchway.gateway.routes import Endpoint, RouteTable
from hatchway.processes import find_marked
from hatchway.settings import Settings
from tests.gateway import stub_replica
from tests.gateway.conftest import TIMEOUT_S, Bell, Replicas, Running, a_route, running, until
from tests.gateway.stub_replica import Request


def envoys(settings: Settings) -> list[int]:
    return [found.identity.pid for found in find_marked(settings.home_hash) if found.mark.role == "envoy"]


# --- adoption ------------------------------------------------------------------------------------------------
async def test_a_new_engine_adopts_envoy_and_no_request_notices(settings: Settings, replicas: Replicas) -> None:
    replica = await replicas.start()
    async with running(settings) as first:
        await first.serve(a_route("iris", replica))
        pid, port = first.gateway.pid, first.gateway.port
    async with httpx.AsyncClient() as client, under_load(client, f"http://127.0.0.1:{port}/iris") as load:
        async with running(settings) as second:
            assert (second.gateway.pid, second.gateway.port) == (pid, port)
            await second.serve(a_route("iris", replica))
        async with running(settings) as third:
            await third.serve(a_route("iris", replica))
    assert set(load.statuses) == {200}
    assert envoys(settings) == [pid]


class Load:
    """`statuses` of the answers so far (0: the connection broke)."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._arrived = Bell()

    def keep(self, status: int) -> None:
        self.statuses.append(status)
        self._arrived.ring()

    async def wait_for(self, count: int) -> None:
        """Until so many more have arrived."""
        goal = len(self.statuses) + count
        await self._arrived.until(lambda: len(self.statuses) >= goal)


@asynccontextmanager
async def under_load(client: httpx.AsyncClient, url: str, n_clients: int = 8) -> AsyncIterator[Load]:
    """Closed-loop clients."""
    load = Load()

    async def call() -> None:
        while True:
            try:
                load.keep((await client.post(url, content=b"x", timeout=TIMEOUT_S)).status_code)
            except httpx.TransportError:
                load.keep(0)

    tasks = [asyncio.create_task(call()) for _ in range(n_clients)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_envoy_serves_on_while_there_is_no_engine(settings: Settings, replicas: Replicas) -> None:
    async with running(settings) as first:
        await first.serve(a_route("iris", await replicas.start()))
        url = first.gateway.url
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/iris")).status_code == 200


async def test_what_changed_while_there_was_no_engine_is_put_right(settings: Settings, replicas: Replicas) -> None:
    old, new = await replicas.start(), await replicas.start()
    async with running(settings) as first:
        await first.serve(a_route("iris", old), a_route("gone", old))
    async with running(settings) as second:
        await second.serve(a_route("iris", new))
        assert (await second.client.get("/iris")).status_code == 200
        await second.settled("gone")
        assert (await second.client.get("/gone")).status_code == 404
        assert len(new.seen) == 1


async def test_an_envoy_with_another_bootstrap_is_replaced_after_its_requests_in_flight(
    settings: Settings, replicas: Replicas
) -> None:
    go_on = asyncio.Event()

    async def waiting(request: Request) -> None:
        await go_on.wait()
        await request.respond(200, b"done")

    async def go_on_when_it_drains(port: int) -> None:
        await until(lambda: refuses(port))
        go_on.set()

    replica = await replicas.start(waiting)
    async with running(settings) as first:
        await first.serve(a_route("iris", replica))
        old_pid = first.gateway.pid
        begun = asyncio.create_task(first.client.get("/iris"))
        await replica.has_seen.wait()
        record = settings.gateway_dir / "envoy.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "bootstrap": "of an older engine"}))
        first.run.cancel()
        draining = asyncio.create_task(go_on_when_it_drains(first.gateway.port))
        async with running(settings) as second:
            await second.serve(a_route("iris", replica))
            assert second.gateway.pid != old_pid
            assert second.gateway.port == first.gateway.port
            assert (await begun).text == "done"
            assert envoys(settings) == [second.gateway.pid]
            await draining


async def test_an_envoy_that_nobody_wrote_down_is_ended(settings: Settings) -> None:
    """The former engine was killed between starting it and writing its record."""
    lost = EnvoyProcess(settings)
    await lost.start(0)
    (settings.gateway_dir / "envoy.json").unlink()
    gateway = Gateway(settings, lambda api: None)
    await gateway.start()
    assert envoys(settings) == [gateway.pid] != [lost.pid]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"pid": 1, "start_time": 1, "port": 1, "bootstrap": "x"}'])
def test_a_damaged_or_stale_record_is_not_adopted(settings: Settings, text: str) -> None:
    (settings.gateway_dir / "envoy.json").write_text(text)
    assert EnvoyProcess(settings).adopt() is None


# --- life ----------------------------------------------------------------------------------------------------
async def test_envoy_is_started_again_when_it_dies(settings: Settings, replicas: Replicas) -> None:
    async with running(settings) as gateway:
        await gateway.serve(a_route("iris", await replicas.start()))
        old = gateway.gateway.pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        await gateway.changed.until(lambda: not gateway.gateway.settled("iris"))
        await gateway.settled("iris")
        assert gateway.gateway.pid != old
        assert (await gateway.client.get("/iris")).status_code == 200


async def test_stopping_waits_for_requests_in_flight_and_leaves_nothing(settings: Settings, replicas: Replicas) -> None:
    go_on = asyncio.Event()

    async def waiting(request: Request) -> None:
        await go_on.wait()
        await request.respond(200, b"done")

    replica = await replicas.start(waiting)
    async with running(settings) as gateway:
        await gateway.serve(a_route("iris", replica))
        begun = asyncio.create_task(gateway.client.get("/iris"))
        await replica.has_seen.wait()
        gateway.run.cancel()
        stop = asyncio.create_task(gateway.gateway.stop())
        await until(lambda: refuses(gateway.gateway.port))
        assert not stop.done()
        go_on.set()
        assert (await begun).text == "done"
        await stop
    assert envoys(settings) == []
    assert not (settings.gateway_dir / "envoy.json").exists()


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_stopping_does_not_wait_for_ever(settings: Settings, replicas: Replicas) -> None:
    async def stuck(request: Request) -> None:
        await asyncio.Event().wait()

    replica = await replicas.start(stuck)
    async with running(settings) as gateway:
        await gateway.serve(a_route("iris", replica))
        begun = asyncio.create_task(gateway.client.get("/iris"))
        await replica.has_seen.wait()
        await gateway.gateway.stop(drain_timeout_s=0.1)
        with pytest.raises(httpx.TransportError):
            await begun


async def test_a_port_can_be_taken_again_at_once(settings: Settings, replicas: Replicas) -> None:
    replica = await replicas.start()
    ports = set()
    for _ in range(2):
        async with running(settings) as gateway:
            await gateway.serve(a_route("iris", replica))
            assert (await gateway.client.get("/iris")).status_code == 200
            ports.add(gateway.gateway.port)
            gateway.run.cancel()
            await gateway.gateway.stop()
    assert len(ports) == 1


async def test_envoy_knows_nothing_of_the_engines_environment(gateway: Running) -> None:
    environment = proc_file(gateway, "environ").split("\0")
    assert {entry.partition("=")[0] for entry in environment if entry} == {"HATCHWAY_PROCESS", "PATH"}


async def test_envoy_may_open_as_many_files_as_the_system_allows(gateway: Running) -> None:
    soft, hard = re.findall(r"Max open files\s+(\d+)\s+(\d+)", proc_file(gateway, "limits"))[0]
    assert soft == hard


def proc_file(gateway: Running, name: str) -> str:
    return Path(f"/proc/{gateway.gateway.pid}/{name}").read_text()


async def test_an_envoy_that_ends_at_once_is_an_error_with_the_end_of_its_log(settings: Settings) -> None:
    binary = settings.home / "broken"
    binary.write_text("#!/bin/sh\necho no such library\nexit 3\n")
    binary.chmod(0o700)
    with pytest.raises(GatewayError, match=r"exit code 3.*\n.*no such library"):
        await Gateway(replace(settings, envoy=str(binary)), lambda api: None).start()


async def test_a_file_that_is_no_program_is_an_error(settings: Settings) -> None:
    binary = settings.home / "text"
    binary.write_text("text")
    binary.chmod(0o700)
    with pytest.raises(GatewayError, match="cannot run"):
        await Gateway(replace(settings, envoy=str(binary)), lambda api: None).start()


def test_an_envoy_that_was_named_must_exist() -> None:
    with pytest.raises(GatewayError, match="HATCHWAY_ENVOY=/nowhere/envoy is not a program"):
        find_envoy("/nowhere/envoy")
    assert find_envoy(sys.executable) == Path(sys.executable)


def test_envoy_leaves_the_cores_to_the_models() -> None:
    assert [n_workers(n) for n in (1, 2, 4, 8, 64)] == [1, 1, 2, 4, 4]


# --- port ----------------------------------------------------------------------------------------------------
async def test_a_port_that_was_set_and_is_taken_names_who_has_it(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GatewayError, match=rf"port {port} on 127\.0\.0\.1 is taken, by .+ \(pid {os.getpid()}\)"):
            await Gateway(replace(settings, gateway_port=port), lambda api: None).start()
    assert envoys(settings) == []


async def test_a_port_taken_at_the_last_moment_ends_run_with_an_error(settings: Settings) -> None:
    gateway = Gateway(settings, lambda api: None)
    await gateway.start()
    with socket.create_server(("127.0.0.1", gateway.port)):
        gateway.apply(RouteTable())
        with pytest.raises(ExceptionGroup) as caught:
            await gateway.run()
    assert caught.group_contains(GatewayError, match=f"Envoy cannot listen on 127.0.0.1:{gateway.port}")


async def test_the_port_moves_without_a_restart(settings: Settings, replicas: Replicas) -> None:
    replica = await replicas.start()
    async with running(settings) as first:
        await first.serve(a_route("iris", replica))
        pid, old_port = first.gateway.pid, first.gateway.port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        new_port = probe.getsockname()[1]
    async with running(replace(settings, gateway_port=new_port)) as second:
        await second.serve(a_route("iris", replica))
        assert second.gateway.pid == pid
        assert (await second.client.get("/iris")).status_code == 200
        await until(lambda: refuses(old_port))


@dataclass(frozen=True)
class Killable:
    endpoint: Endpoint
    process: asyncio.subprocess.Process


@asynccontextmanager
async def killable(settings: Settings, name: str) -> AsyncIterator[Killable]:
    """A replica as a process of its own; every answer takes 2 ms."""
    address = str(settings.replica_socket(name, "data"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, stub_replica.__file__, address, name, "0.002", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    yield Killable(Endpoint(address), process)
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


# --- replicas that die ---------------------------------------------------------------------------------------
async def test_a_killed_replica_costs_only_what_it_was_doing(settings: Settings) -> None:
    async with running(settings) as gateway, killable(settings, "a") as first, killable(settings, "b") as second:
        await gateway.serve(replace(a_route("iris"), endpoints=(first.endpoint, second.endpoint)))
        n_clients = 8
        async with under_load(gateway.client, "/iris", n_clients) as load:
            await load.wait_for(100)
            first.process.kill()
            await first.process.wait()
            await load.wait_for(500)
    failed = [status for status in load.statuses if status != 200]
    assert len(failed) <= n_clients
    assert set(failed) <= {503}


async def test_a_killed_replica_costs_an_idempotent_api_nothing(settings: Settings) -> None:
    async with running(settings) as gateway, killable(settings, "a") as first, killable(settings, "b") as second:
        await gateway.serve(replace(a_route("iris", idempotent=True), endpoints=(first.endpoint, second.endpoint)))
        async with under_load(gateway.client, "/iris") as load:
            await load.wait_for(100)
            first.process.kill()
            await first.process.wait()
            await load.wait_for(500)
    assert set(load.statuses) == {200}
