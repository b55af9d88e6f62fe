"""A load client in a process of its own, so that its CPU is not counted as the server's.

    python client.py saturate ADDRESS PATH SECONDS CONNECTIONS   as fast as the server answers
    python client.py paced ADDRESS PATH SECONDS RATE             open loop: RATE requests a second, come what may

ADDRESS is HOST:PORT or the path of a unix socket. Two more arguments are a file to send and its content type. Prints
one line of JSON. Latencies of `paced` count from the moment a request was due, not from when it could be sent: a
server that stalls is not excused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections import deque
from pathlib import Path

import httptools
import uvloop

BODY = b'{"values": [5.1, 3.5, 1.4, 0.2], "id": 7}'
MOST_CONNECTIONS = 128


def request_to(path: str) -> bytes:
    body, content_type = BODY, "application/json"
    if len(sys.argv) > 6:
        body, content_type = Path(sys.argv[6]).read_bytes(), sys.argv[7]
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\naccept: */*\r\ncontent-type: {content_type}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; `on_answer(self)` after each whole answer."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 200:
            self.load.failed += 1
        self.load.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost += 1

    def send(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


class Load:
    """Counts; a subclass decides when to send."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.count = 0
        self.failed = 0
        self.lost = 0
        self.is_over = False

    def answered(self, connection: Connection) -> None:
        raise NotImplementedError


class Saturate(Load):
    def answered(self, connection: Connection) -> None:
        self.count += 1
        if not self.is_over:
            connection.send(self.request)


class Paced(Load):
    def __init__(self, request: bytes, total: int) -> None:
        super().__init__(request)
        self.total = total
        self.complete = asyncio.Event()
        self.free: list[Connection] = []
        self.waiting: deque[float] = deque()  # when each was due
        self.latencies: list[float] = []

    def due(self, when: float) -> None:
        if self.free:
            self._send(self.free.pop(), when)
        else:
            self.waiting.append(when)

    def answered(self, connection: Connection) -> None:
        self.count += 1
        self.latencies.append(time.perf_counter() - connection.due)
        if self.count == self.total:
            self.complete.set()
        if self.waiting:
            self._send(connection, self.waiting.popleft())
        else:
            self.free.append(connection)

    def _send(self, connection: Connection, when: float) -> None:
        connection.due = when
        connection.send(self.request)


async def connect(load: Load, address: str, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        if address.startswith("/"):
            _, connection = await loop.create_unix_connection(lambda: Connection(load), address)
        else:
            host, _, port = address.rpartition(":")
            _, connection = await loop.create_connection(lambda: Connection(load), host, int(port))
        made.append(connection)
    return made


async def saturate(address: str, path: str, seconds: float, connections: float) -> dict[str, float]:
    load = Saturate(request_to(path))
    made = await connect(load, address, int(connections))
    start = time.perf_counter()
    for connection in made:
        connection.send(load.request)
    await asyncio.sleep(seconds)
    load.is_over = True
    counted, elapsed = load.count, time.perf_counter() - start
    return {"requests": counted, "seconds": elapsed, "failed": load.failed + load.lost}


async def paced(address: str, path: str, seconds: float, rate: float) -> dict[str, float]:
    load = Paced(request_to(path), int(seconds * rate))
    load.free = await connect(load, address, MOST_CONNECTIONS)
    start = time.perf_counter() + 0.05
    loop = asyncio.get_running_loop()

    def tick() -> None:
        # In a thread: the loop's own timers are rounded to milliseconds, and turning the loop instead of sleeping
        # would take a core from the server.
        for n in range(load.total):
            due = start + n / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            loop.call_soon_threadsafe(load.due, due)

    threading.Thread(target=tick, daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + 10):
            await load.complete.wait()
    found = sorted(load.latencies)
    return {
        "p50_ms": found[len(found) // 2] * 1e3,
        "p99_ms": found[int(len(found) * 0.99)] * 1e3,
        "requests": load.count,
        "failed": load.failed + load.lost + load.total - load.count,
    }


if __name__ == "__main__":
    action = {"saturate": saturate, "paced": paced}[sys.argv[1]]
    print(json.dumps(uvloop.run(action(sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])))))
