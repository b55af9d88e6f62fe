"""A receiver of webhooks: a real HTTP server on loopback that answers as it is told, or badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def refusal(code: int, text: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} x", f"content-length: {len(text)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


@dataclass
class Receiver:
    """`answers` are given one after the other, then OK; None: it takes the request and never answers."""

    port: int = 0
    answers: list[bytes | None] = field(default_factory=list)
    got: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)  # path, document

    def url(self, path: str = "/services/T000/B000/secret") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def next(self) -> Any:
        async with asyncio.timeout(20):
            return (await self.got.get())[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:"))
            body = json.loads(await reader.readexactly(length))
            self.got.put_nowait((head.split(" ")[1], body))
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                await reader.read()  # until the other side has had enough
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def a_receiver(*answers: bytes | None) -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=list(answers))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
