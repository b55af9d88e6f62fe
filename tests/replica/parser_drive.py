"""The replica's HTTP connection without a socket: bytes in, pieces as they please; what it made of them out.

Quick enough for thousands of inputs a second. `drive` fails when the connection breaks a rule that holds for any input.
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass, field
from typing import Any

from hatchway.replica.connection import Exchange, Listener, Sink

MAX_BODY_BYTES = 1000
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


@dataclass
class Seen:
    """What a connection did."""

    requests: list[tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # status and body; of refusals the body's kind


class _Transport:
    """Keeps what is written. Once it is closed the connection hears nothing more."""

    def __init__(self, own: socket.socket) -> None:
        self.own = own
        self.written = b""
        self.is_closed = False
        self.has_eof = False

    def write(self, data: bytes) -> None:
        assert not self.has_eof, "written after the end"
        if not self.is_closed:
            self.written += data

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        """The driver sends on: a transport may have read more already."""

    def resume_reading(self) -> None:
        """As above."""

    def get_extra_info(self, name: str) -> Any:
        return self.own if name == "socket" else None


class _Echo(Exchange):
    """Answers its body: at once, when it is told, or as a stream; the driver chooses."""

    def __init__(self, driver: _Driver, *args: Any) -> None:
        super().__init__(*args)
        self._driver = driver

    def begin(self) -> None:
        self._driver.begun.append(self)
        self._driver.seen.requests.append((self.method, self.target, tuple(self.raw_headers), self.body))
        if not self._driver.is_slow:
            self.reply()

    def reply(self) -> None:
        if self.method == "PUT":
            self.start_stream(200, [])
            self.end_stream(self.body)
        else:
            self.answer(200, b"", self.body)


class _Driver:
    def __init__(self, *, is_slow: bool) -> None:
        self.is_slow = is_slow
        self.seen = Seen()
        self.made: list[_Echo] = []  # begun, or refused before their bodies were complete
        self.begun: list[_Echo] = []
        self.listener = Listener(self._make, max_body_bytes=MAX_BODY_BYTES)

    def _make(self, sink: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Exchange:
        self.made.append(_Echo(self, sink, method, target, headers))
        return self.made[-1]

    def reply_to_all(self) -> None:
        """Each reply may begin the next."""
        while waiting := [each for each in self.begun if not (each.ended or each.gone)]:
            waiting[0].reply()


async def drive(pieces: list[bytes], *, is_slow: bool = False) -> Seen:
    """A client sends these pieces and says that no more comes. Slow: all are there before the first is answered."""
    peer, own = socket.socketpair()  # the connection looks whether its peer still listens
    with peer, own:
        return _drive(pieces, _Transport(own), _Driver(is_slow=is_slow))


def _drive(pieces: list[bytes], transport: _Transport, driver: _Driver) -> Seen:
    connection = driver.listener.connect()
    connection.connection_made(transport)  # type: ignore[arg-type]  # all of it that is used
    for piece in pieces:
        if piece and not transport.is_closed:
            connection.data_received(piece)
    stays = not transport.is_closed and connection.eof_received()
    driver.reply_to_all()
    assert not stays or transport.is_closed or transport.has_eof, "neither closed nor an answer on its way"
    connection.connection_lost(None)
    assert not driver.listener.connections
    assert all(each.ended or each.gone for each in driver.begun), "left without an answer"
    driver.seen.answers = _read_answers(transport.written, [each.method for each in driver.made])
    refusals = [status for status, _ in driver.seen.answers if status != 200]
    assert len(driver.seen.answers) == len(driver.begun) + len(refusals)
    assert {status for status, _ in driver.seen.answers} <= {200, 400, 413, 431}
    return driver.seen


def _read_answers(written: bytes, methods: list[str]) -> list[tuple[int, bytes]]:
    """Fails unless it is a row of whole answers with at most one refusal, the last."""
    answers: list[tuple[int, bytes]] = []
    while written:
        if written.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            written = written.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            continue
        head, separator, rest = written.partition(b"\r\n\r\n")
        status = _STATUS.match(head + b"\r\n")
        assert separator, written
        assert status is not None, written
        method = methods[len(answers)] if len(answers) < len(methods) else "GET"
        body, written = _read_body(head.lower(), rest, is_head=method == "HEAD")
        answers.append((int(status[1]), body if int(status[1]) == 200 else _kind_of(body)))
    refusals = [status for status, _ in answers if status != 200]
    assert len(refusals) <= 1
    assert not refusals or answers[-1][0] == refusals[0], "answered after a refusal"
    return answers


def _read_body(head: bytes, rest: bytes, *, is_head: bool) -> tuple[bytes, bytes]:
    """The body, and what follows it."""
    if is_head:
        return b"", rest
    if length := re.search(rb"\r\ncontent-length: (\d+)", head):
        assert len(rest) >= int(length[1]), rest
        return rest[: int(length[1])], rest[int(length[1]) :]
    if b"\r\ntransfer-encoding: chunked" not in head:
        return rest, b""
    body = b""
    while True:
        size = _CHUNK.match(rest)
        assert size is not None, rest
        n, rest = int(size[1], 16), rest[size.end() :]
        assert rest[n : n + 2] == b"\r\n"
        body, rest = body + rest[:n], rest[n + 2 :]
        if n == 0:
            return body, rest


def _kind_of(body: bytes) -> bytes:
    """Of a refusal, without what differs from one to the next."""
    found = re.search(rb'"kind":"(\w+)"', body)
    return found[1] if found else body


def run(pieces: list[bytes], loop: asyncio.AbstractEventLoop, *, is_slow: bool = False) -> Seen:
    return loop.run_until_complete(drive(pieces, is_slow=is_slow))
