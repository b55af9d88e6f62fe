"""A TCP port that anybody may connect to: what costs without asking anything is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from hatchway.control_api.app import Beside, make_app, serve
from hatchway.control_api.connections import BoundedHttp
from hatchway.gateway.ports import DASHBOARD, listen
from tests.control_api.memory_plane import MemoryPlane

REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Strict(BoundedHttp):
    max_connections = 2
    patience_s = 0.05


async def size(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how many bytes came; of a refused request it reads nothing."""
    request = Request(scope, receive)
    answer = "refused" if request.url.path == "/refused" else str(len(await request.body()))
    await PlainTextResponse(answer)(scope, receive, send)


@asynccontextmanager
async def listening(protocol: type[BoundedHttp]) -> AsyncIterator[int]:
    config, state = uvicorn.Config(size, lifespan="off", log_config=None), ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def open_to(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Waits for the end."""
    with suppress(ConnectionError):
        await reader.read()
    return True


async def flood(writer: asyncio.StreamWriter) -> None:
    """Until the other end has had enough; for ever if it never has."""
    with suppress(ConnectionError):
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()


@pytest.mark.parametrize(
    ("asked", "answer", "then"),
    [
        (b"", b"", b""),
        (b"", b"", b"GET / HTTP/1.1\r\nhost: loc"),
        (REQUEST, b"\r\n\r\n0", b"GET / HT"),
        (b"POST /refused HTTP/1.1\r\ncontent-length: 9999\r\n\r\nbegins", b"refused", b"trickles"),
    ],
)
async def test_a_connection_without_a_whole_request_ends(asked: bytes, answer: bytes, then: bytes) -> None:
    async with listening(Strict) as port, asyncio.timeout(60):
        reader, writer = await open_to(port)
        writer.write(asked)
        if answer:
            await reader.readuntil(answer)
        writer.write(then)
        assert await is_cut(reader)
        writer.close()


async def test_only_so_many_connections_are_kept(tmp_path: Path) -> None:
    class Patient(Strict):
        patience_s = 600.0

    async with listening(Patient) as port, asyncio.timeout(60):
        first, second = await open_to(port), await open_to(port)
        third = await open_to(port)
        assert await is_cut(third[0])
        first[1].write(REQUEST)
        assert (await first[0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in (first, second, third):
            writer.close()


async def test_a_head_without_end_is_not_kept_and_a_large_body_is_taken() -> None:
    async with listening(BoundedHttp) as port, asyncio.timeout(60):
        _, writer = await open_to(port)
        writer.write(b"GET / HTTP/1.1\r\nx-long: ")
        await flood(writer)

        reader, writer = await open_to(port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        assert b"3000000" in await reader.readuntil(b"3000000")
        writer.write(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-trailer: ")
        await flood(writer)


async def test_the_engines_port_has_these_limits_and_its_own_socket_has_none(tmp_path: Path) -> None:
    listener = listen("127.0.0.1", 0, tmp_path / "port", DASHBOARD)
    app = make_app(MemoryPlane(tmp_path))
    serving = asyncio.create_task(serve(app, tmp_path / "s", Beside(listener, app)))
    async with asyncio.timeout(60):
        _, writer = await open_to(listener.getsockname()[1])
        writer.write(b"GET / HTTP/1.1\r\nx-long: ")
        await flood(writer)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"GET /v1/apis HTTP/1.1\r\nx-long: " + b"x" * 200_000 + b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    serving.cancel()
    await asyncio.wait([serving])
