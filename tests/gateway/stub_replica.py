"""A small real HTTP/1.1 server on a unix socket that stands for a replica.

Run as a program it is one that can be killed: `python stub_replica.py SOCKET NAME SECONDS` answers NAME after SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    async def body(self) -> AsyncIterator[bytes]:
        """The body in pieces as they come."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int(await self.reader.readline(), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readline()
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            piece = await self.reader.read(min(left, 1 << 16))
            if not piece:
                raise EOFError
            left -= len(piece)
            yield piece

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.body()])

    async def respond(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Word", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def respond_stream(self, pieces: AsyncIterator[bytes]) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        async for piece in pieces:
            self.writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await self.writer.drain()
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


Answer = Callable[[Request], Awaitable[None]]


class StubReplica:
    """Answers with `answer`; `seen` are the requests so far, `has_seen` is set once there is one."""

    def __init__(self, address: str, answer: Answer) -> None:
        self.address = address
        self.seen: list[Request] = []
        self.has_seen = asyncio.Event()
        self._answer = answer

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[StubReplica]:
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._connection(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_unix_server(accept, self.address, backlog=4096)
        try:
            yield self
        finally:
            server.close()
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read_request(reader, writer)
                self.seen.append(request)
                self.has_seen.set()
                await self._answer(request)
                if request.headers.get("upgrade"):
                    break
        except (EOFError, OSError):
            pass  # the gateway has closed the connection
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs}, reader, writer)


async def _serve(address: str, name: str, seconds: float) -> None:
    async def answer(request: Request) -> None:
        await request.read()
        await asyncio.sleep(seconds)
        await request.respond(200, name.encode())

    async with StubReplica(address, answer).listening():
        print("up", flush=True)  # noqa: T201  # the test waits for it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], float(sys.argv[3])))
