"""The front alone: clients on one side, a replica that a test writes on the other."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hatchway.dev.front import Answered, Front, Unavailable, listen
from hatchway.errors import UsageError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ASK = b"POST /iris HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Stage:
    """One API at /iris, and what the front told of requests."""

    path: str
    failure: str = ""
    port: int = 0
    told: asyncio.Queue[Answered] = field(default_factory=asyncio.Queue)

    def endpoints(self) -> Collection[str]:
        return ["/iris"]

    async def address(self, endpoint: str) -> str:
        if self.failure:
            raise Unavailable(self.failure)
        return self.path

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def stage(serve: Serve) -> AsyncIterator[Stage]:
    """A front, and a replica that serves each connection so."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        found = Stage(f"{folder}/data")
        replica = await asyncio.start_unix_server(serve, found.path)
        sock = listen(0)
        found.port = sock.getsockname()[1]
        front = asyncio.create_task(Front(found, found.told.put_nowait).run(sock))
        try:
            yield found
        finally:
            front.cancel()
            await asyncio.gather(front, return_exceptions=True)
            replica.close()


async def answer_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"{}")
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    writer.close()


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise AssertionError("no request was to come here")


async def test_an_answer_is_passed_back_and_told() -> None:
    async with stage(answer_ok) as found:
        assert (await found.ask(ASK)).endswith(b"\r\n\r\nok")
        told = await found.told.get()
    assert (told.method, told.target, told.status) == ("POST", "/iris", 200)


async def test_a_replica_that_takes_no_more_of_a_body_is_heard() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with stage(refuse) as found:
        answer = await found.ask(ASK.replace(b"content-length: 2", b"content-length: 5000000") + b"x" * 4_999_998)
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_replica_that_ends_without_an_answer_is_a_503() -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with stage(end) as found:
        assert b"the replica ended before it answered" in await found.ask(ASK)
        assert (await found.told.get()).status == 503


async def test_an_api_that_is_not_loaded_says_why() -> None:
    async with stage(never) as found:
        found.failure = "ImportError: no module named nothing"
        answer = await found.ask(ASK)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"no module named nothing" in answer


async def test_a_client_that_leaves_is_told_to_the_replica() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        begun.set()
        await reader.read()
        left.set()
        writer.close()

    async with stage(wait) as found:
        _, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(ASK)
        await begun.wait()
        writer.close()
        await left.wait()
        assert (await found.told.get()).status == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /iris HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
    ],
    ids=["no HTTP", "long headers", "no API"],
)
async def test_what_no_replica_should_see_is_answered_here(request_bytes: bytes, status: int) -> None:
    async with stage(never) as found:
        assert (await found.ask(request_bytes)).startswith(b"HTTP/1.1 %d " % status)


async def test_a_web_socket_passes() -> None:
    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: Upgrade" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        writer.write(b"heard " + await reader.readexactly(2))
        writer.close()

    async with stage(upgrade) as found:
        answer = await found.ask(b"GET /iris HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        assert answer.endswith(b"heard hi")
        assert (await found.told.get()).status == 101


def test_the_default_port_gives_way_and_a_named_one_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="already in use"):
        listen(taken.getsockname()[1])
    first = listen(None)
    with first, listen(None) as second:
        assert second.getsockname()[1] > first.getsockname()[1] >= 8000
