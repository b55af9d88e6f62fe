"""An open-loop client that goes on until its standard input ends, and keeps account of every request.

    python steady.py PORT PATH RATE [LONG_RATE]

RATE short requests a second, and LONG_RATE a second (0) of each of two long ones: one that is answered after LONG_S,
and one whose answer is streamed for LONG_S. They are sent when they are due, whatever became of the others: over
kept-alive connections, and over one more when all are busy. Nothing is sent twice. Each carries an id of its own.

Prints a line of JSON each REPORT_EVERY_S, {"answered": short ones so far}, and its `Account` as the last one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools
import uvloop

LONG_S = 3.0
REPORT_EVERY_S = 0.1
ANSWER_LIMIT_S = 20.0  # after the last one was sent; what is not answered by then is lost
FIRST_CONNECTIONS = 32
KINDS = ("short", "long", "stream")


@dataclass
class Account:
    """What became of the requests of all kinds. Times are of the monotonic clock, in seconds."""

    sent: dict[str, int] = field(default_factory=dict)  # by kind
    statuses: dict[str, dict[int, int]] = field(default_factory=dict)  # by kind: complete answers by status
    broken: dict[str, int] = field(default_factory=dict)  # by kind: no answer, because the connection ended
    cut: dict[str, int] = field(default_factory=dict)  # by kind: an answer that ended in the middle
    unanswered: int = 0  # neither
    failures: list[str] = field(default_factory=list)  # the first ones, in words
    ids: dict[str, list[str]] = field(default_factory=dict)  # what was answered with 200, by kind
    latencies: list[tuple[float, float]] = field(default_factory=list)  # of short ones: when due, how long from then
    first_failed: float = 0.0  # when a request was first found to have got no answer, or another than 200
    last_failed: float = 0.0
    seconds: float = 0.0  # from the first to the last one sent
    latest_s: float = 0.0  # how long after it was due the latest one was sent
    n_connections: int = 0


@dataclass
class Request:
    id: str
    kind: str
    due: float

    def to_bytes(self, path: str) -> bytes:
        extra = {"short": {}, "long": {"sleep_s": LONG_S}, "stream": {"stream_s": LONG_S}}[self.kind]
        body = json.dumps({"id": self.id, **extra}).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: steady\r\ncontent-type: application/json\r\n"
        return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """Carries one request at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._request: Request | None = None
        self._has_begun = False
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: Request, path: str) -> None:
        self._request, self._has_begun, self._body = request, False, b""
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request.to_bytes(path))

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            self.connection_lost(None)  # nobody asked
        else:
            self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self._has_begun = True

    def on_body(self, data: bytes) -> None:
        if self._parser.get_status_code() != 200:
            self._body += data

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        assert request is not None
        self._client.answered(request, self._parser.get_status_code(), self._body)
        if self._parser.should_keep_alive():
            self._client.free.append(self)
        else:
            self.is_open = False
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._request is not None:
            self._client.lost(self._request, repr(exc), has_begun=self._has_begun)
            self._request = None


class Client:
    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self.account = Account()
        self.free: list[Connection] = []
        self._sent: Counter[str] = Counter()
        self._statuses = {kind: Counter[int]() for kind in KINDS}
        self._broken: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._ids: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._tasks: set[asyncio.Task[None]] = set()
        self._n_open = 0
        self._is_idle = asyncio.Event()

    @property
    def n_answered(self) -> int:
        return self._statuses["short"].total()

    async def prepare(self) -> None:
        for _ in range(FIRST_CONNECTIONS):
            self.free.append(await self._connect())

    def due(self, kind: str, when: float) -> None:
        self._sent[kind] += 1
        self._n_open += 1
        self._is_idle.clear()
        request = Request(f"{os.getpid()}-{kind}-{self._sent[kind]}", kind, when)
        self.account.latest_s = max(self.account.latest_s, time.monotonic() - when)
        while self.free:
            connection = self.free.pop()
            if connection.is_open:
                connection.send(request, self._path)
                return
        task = asyncio.create_task(self._send_over_another(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_over_another(self, request: Request) -> None:
        try:
            connection = await self._connect()
        except OSError as exc:
            self.lost(request, repr(exc), has_begun=False)
        else:
            if connection.is_open:
                connection.send(request, self._path)
            else:
                self.lost(request, "closed at once", has_begun=False)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        self.account.n_connections += 1
        return connection

    def answered(self, request: Request, status: int, body: bytes) -> None:
        self._statuses[request.kind][status] += 1
        if request.kind == "short":
            self.account.latencies.append((request.due, time.monotonic() - request.due))
        if status == 200:
            self._ids[request.kind].append(request.id)
        else:
            self._note(f"{request.id}: {status} {body.decode(errors='replace')}")
        self._over()

    def lost(self, request: Request, why: str, *, has_begun: bool) -> None:
        (self._cut if has_begun else self._broken)[request.kind] += 1
        self._note(f"{request.id}: {'cut' if has_begun else 'broken'}: {why}")
        self._over()

    def _note(self, failure: str) -> None:
        self.account.last_failed = time.monotonic()
        self.account.first_failed = self.account.first_failed or self.account.last_failed
        if len(self.account.failures) < 10:
            self.account.failures.append(failure)

    def _over(self) -> None:
        self._n_open -= 1
        if not self._n_open:
            self._is_idle.set()

    async def finish(self) -> Account:
        """Wait for what was sent, and add up."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._is_idle.wait()
        except TimeoutError:
            self.account.unanswered = self._n_open
        self.account.sent = {kind: self._sent[kind] for kind in KINDS}
        self.account.statuses = {kind: dict(self._statuses[kind]) for kind in KINDS}
        self.account.broken = {kind: self._broken[kind] for kind in KINDS}
        self.account.cut = {kind: self._cut[kind] for kind in KINDS}
        self.account.ids = self._ids
        return self.account


def send_on_schedule(
    client: Client, loop: asyncio.AbstractEventLoop, rates: dict[str, float], ended: threading.Event
) -> None:
    """In a thread: the loop's own timers are rounded to milliseconds. Sends nothing early and leaves nothing out."""
    began = time.monotonic()
    counts = dict.fromkeys(rates, 0)
    while not ended.is_set():
        kind = min(rates, key=lambda each: counts[each] / rates[each])
        when = began + counts[kind] / rates[kind]
        counts[kind] += 1
        time.sleep(max(0.0, when - time.monotonic()))
        loop.call_soon_threadsafe(client.due, kind, when)
    client.account.seconds = time.monotonic() - began


async def report(client: Client) -> None:
    while True:
        print(json.dumps({"answered": client.n_answered}), flush=True)
        await asyncio.sleep(REPORT_EVERY_S)


async def main(port: int, path: str, rate: float, long_rate: float = 0.0) -> None:
    client = Client(port, path)
    await client.prepare()
    rates = {kind: each for kind, each in zip(KINDS, (rate, long_rate, long_rate), strict=True) if each}
    ended = threading.Event()
    sending = asyncio.create_task(
        asyncio.to_thread(send_on_schedule, client, asyncio.get_running_loop(), rates, ended), name="send"
    )
    reporting = asyncio.create_task(report(client), name="report")
    await asyncio.to_thread(sys.stdin.read)
    ended.set()
    await sending
    account = await client.finish()
    reporting.cancel()
    print(json.dumps(asdict(account)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:])))
