"""Port-forwarding over WebSockets, `v4.channel.k8s.io`: what a kubelet speaks, through the API server. For one port.

Channel 0 carries the connection, channel 1 what went wrong; each begins with the port in two bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from tests.kubernetes.double.schemas import Json

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1

Send = Callable[[Json], Awaitable[None]]
Receive = Callable[[], Awaitable[Json]]


def port_of(scope: Json) -> int:
    """What the query asks for; 0 for what no kubelet would take."""
    ports = parse_qs(scope["query_string"].decode()).get("ports", [])
    return int(ports[0]) if len(ports) == 1 and ports[0].isdecimal() else 0


async def forward(pod: Json, port: int, receive: Receive, send: Send) -> None:
    """From the handshake to the end of the connection. The address is the pod's own."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
    for channel in (DATA, ERROR):
        await send({"type": "websocket.send", "bytes": bytes([channel]) + struct.pack("<H", port)})
    try:
        reader, writer = await asyncio.open_connection(pod["status"]["podIP"], port)
    except OSError as exc:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        said = f"error forwarding port {port} to pod {name}, uid {uid}: {exc}"
        await send({"type": "websocket.send", "bytes": bytes([ERROR]) + said.encode()})
        await send({"type": "websocket.close", "code": 1000})
        return
    await _carry(reader, writer, receive, send)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receive: Receive, send: Send) -> None:
    """Whoever ends first ends both."""

    async def inwards() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            frame = message.get("bytes") or b""
            if frame[:1] == bytes([DATA]):
                writer.write(frame[1:])
                await writer.drain()

    async def outwards() -> None:
        while chunk := await reader.read(1 << 16):
            await send({"type": "websocket.send", "bytes": bytes([DATA]) + chunk})
        await send({"type": "websocket.close", "code": 1000})

    tasks = {asyncio.ensure_future(inwards()), asyncio.ensure_future(outwards())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def refuse(code: int, said: bytes, receive: Receive, send: Send) -> None:
    """An answer instead of a handshake."""
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": said})
