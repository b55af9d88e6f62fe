"""How the activator finds replicas: sockets, launch files and readiness, all real."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from hatchway.gateway.activator.replicas import LISTING_LASTS_S, connect
from hatchway.gateway.activator.replicas import Replicas as Found
from hatchway.settings import Settings
from tests.gateway.conftest import Replicas
from tests.gateway.stub_replica import Request, StubReplica


@pytest.fixture
def found(settings: Settings) -> Found:
    return Found(settings.replica_sockets_dir, settings.replicas_dir)


async def test_only_ready_replicas_of_the_api_are_found(found: Found, replicas: Replicas) -> None:
    assert await found.ready("iris") == []
    await asyncio.sleep(LISTING_LASTS_S)
    first = await replicas.come_up("iris")
    await replicas.come_up("iris", is_ready=False)
    await replicas.come_up("other")
    assert await found.ready("iris") == [first.address]


async def test_a_replica_that_is_gone_is_forgotten(found: Found, replicas: Replicas, settings: Settings) -> None:
    replica = await replicas.come_up("iris")
    assert await found.ready("iris") == [replica.address]
    settings.replica_socket("stub1", "data").unlink()
    await asyncio.sleep(LISTING_LASTS_S)
    assert await found.ready("iris") == []


async def test_a_frozen_replica_does_not_keep_others_waiting(
    found: Found, replicas: Replicas, settings: Settings
) -> None:
    async def freeze(request: Request) -> None:
        await asyncio.Event().wait()

    (settings.replicas_dir / "frozen").mkdir()
    (settings.replicas_dir / "frozen" / "launch.json").write_text(json.dumps({"api": "iris"}))
    settings.replica_socket("frozen", "data").touch()
    ready = await replicas.come_up("iris")
    async with StubReplica(str(settings.replica_socket("frozen", "ctl")), freeze).listening():
        async with asyncio.timeout(0.5):  # a check may take 1 s
            assert await found.ready("iris") == [ready.address]


@pytest.mark.parametrize("launch", ["", "[]", "{}", None])
async def test_a_socket_that_nobody_launched_is_passed_over(
    found: Found, settings: Settings, launch: str | None
) -> None:
    settings.replica_socket("strange", "data").touch()
    if launch is not None:
        (settings.replicas_dir / "strange").mkdir()
        (settings.replicas_dir / "strange" / "launch.json").write_text(launch)
    assert await found.ready("iris") == []


async def test_connecting_where_nobody_listens_or_everybody_waits_is_no_connection(settings: Settings) -> None:
    path = str(settings.replica_socket("full", "data"))
    assert connect(path) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        first = connect(path)
        assert first is not None
        assert connect(path) is None
        first.close()


async def test_a_pod_is_found_by_its_file_and_asked_at_its_port(found: Found, settings: Settings) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    control = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    file = settings.replica_sockets_dir / "iris-r1-x.pod"
    file.write_text(json.dumps({"api": "iris", "data": "10.0.0.1:8080", "control": control}))
    assert await found.ready("iris") == ["10.0.0.1:8080"]
    server.close()
    await server.wait_closed()
    assert await found.ready("iris") == []
    file.unlink()
