"""One request on its way: read from Envoy, held, passed on to a replica, its answer passed back.

Heads are rewritten, bodies are passed on as bytes, so streams, uploads and web sockets are all the same. While a
request is held nothing more of it is read than came with its head: the rest stays with its sender. A connection to
either side carries one request only; the end of the answer is the end of both.
"""

from __future__ import annotations

import asyncio
import math
import select
from http import HTTPStatus
from typing import Protocol

from hatchway.gateway.activator.heads import HEAD_END, MAX_HEAD_BYTES, AnswerHead, RequestHead, make_error

# What was passed on of a body is kept up to here, in case the replica refuses it. Larger ones are not sent twice.
MAX_KEPT_BYTES = 64 * 1024
_BUFFER = memoryview(bytearray(64 * 1024))
LINGER_S = 2.0  # how long a sender that was answered early may go on sending before it is cut


class Desk(Protocol):
    """Where requests wait."""

    def arrived(self, exchange: Exchange) -> None:
        """Its head is complete: hold it, or refuse it."""
        ...

    def expired(self, exchange: Exchange) -> None:
        """Its time is up."""
        ...

    def refused(self, exchange: Exchange) -> None:
        """The replica was full, and the request can be sent once more."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """It is answered, or its sender has left."""
        ...


class Receiver(asyncio.BufferedProtocol):
    """Reads into one piece of memory that all connections share: what is received is dealt with at once.

    The loop would take 256 KiB for each read otherwise, and the process keep many of them.
    """

    def data_received(self, data: bytes) -> None:
        raise NotImplementedError

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_BUFFER[:nbytes]))


class Exchange(Receiver):
    """The connection from Envoy."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._transport: asyncio.Transport
        self._upstream: Upstream | None = None
        self._head: RequestHead | None = None
        self._kept: bytearray | None = bytearray()  # the head until it is complete, then the body so far
        self._has_answer = False
        self._timer: asyncio.TimerHandle | None = None  # of the deadline, then of the linger
        self._came_at = 0.0  # on the loop's clock
        self.deadline = 0.0  # likewise; inf: none
        self.n_refused = 0

    @property
    def head(self) -> RequestHead:
        assert self._head is not None  # since `arrived`
        return self._head

    @property
    def has_left(self) -> bool:
        """Whether Envoy has closed the connection."""
        return bool(departed([self]))

    @property
    def descriptor(self) -> int:
        """-1 once it is closed."""
        return int(self._transport.get_extra_info("socket").fileno())

    # --- from Envoy ------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._upstream is not None:
            self._pass_on(self._upstream, data)
        elif self._has_answer:
            pass  # it was answered early: the rest is thrown away
        elif self._kept is not None:
            self._kept += data
            if self._head is None:
                self._read_head(self._kept)

    def _read_head(self, received: bytearray) -> None:
        end = received.find(HEAD_END)
        if end < 0:
            if len(received) > MAX_HEAD_BYTES:
                self.fail(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "the headers are too large")
            return
        try:
            self._head = RequestHead.parse(bytes(received[:end]))
        except ValueError as exc:
            self.fail(HTTPStatus.BAD_REQUEST, "bad_request", f"the gateway sent what the activator cannot read: {exc}")
            return
        del received[: end + len(HEAD_END)]
        self._transport.pause_reading()
        self._came_at = asyncio.get_running_loop().time()
        self.deadline = self._came_at + self._head.patience_s
        self._set_timer()
        self._desk.arrived(self)

    def _pass_on(self, upstream: Upstream, data: bytes) -> None:
        if self._kept is not None:
            self._kept += data
            if len(self._kept) > MAX_KEPT_BYTES:
                self._kept = None
        upstream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._upstream is not None:
            self._upstream.cut()
        self._desk.ended(self)

    def pause_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.resume_reading()

    # --- to and from the replica -----------------------------------------------------------------------------
    def begin(self, upstream: Upstream) -> None:
        """The replica is connected. From the first byte on, the request may run there."""
        if self.has_left:
            upstream.cut()
            self.cut()
            return
        self._upstream = upstream
        self._cancel_timer()
        now = asyncio.get_running_loop().time()
        body = bytes(self._kept or b"")
        if len(body) > MAX_KEPT_BYTES:
            self._kept = None
        self._transport.resume_reading()  # before writing, which may pause it again
        held_s = now - self._came_at
        head = self.head.to_replica(self.deadline - now, held_s=held_s, n_refused=self.n_refused)
        upstream.write(head + body)

    def answer_begins(self, head: AnswerHead) -> bool:
        """False when the answer is not wanted: it is a refusal, and the request waits again."""
        if head.is_refusal and self._kept is not None:
            self._upstream = None
            self._transport.pause_reading()
            self._set_timer()
            self.n_refused += 1
            self._desk.refused(self)
            return False
        if not head.is_interim:  # nobody waits for an interim one: Envoy has answered "expect" itself
            self._kept = None
            self._has_answer = True
            self._transport.write(head.to_caller())
        return True

    def pass_back(self, data: bytes) -> None:
        self._transport.write(data)

    def upstream_ended(self) -> None:
        """The replica has closed. Without an answer, the request may have run: Envoy decides, as for any replica."""
        self._upstream = None
        if self._has_answer:
            self._finish()
        else:
            self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    # --- answers of our own ----------------------------------------------------------------------------------
    def fail(self, status: HTTPStatus, kind: str, message: str) -> None:
        self._cancel_timer()
        self._has_answer = True
        self._kept = None
        self._transport.write(make_error(status, kind, message, "" if self._head is None else self.head.request_id))
        self._finish()

    def _finish(self) -> None:
        """Say that no more comes. Closing at once would throw the answer away with what was not read."""
        if not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)

    def cut(self) -> None:
        self._transport.abort()

    def _set_timer(self) -> None:
        if not math.isinf(self.deadline):
            self._timer = asyncio.get_running_loop().call_at(self.deadline, self._desk.expired, self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Upstream(Receiver):
    """The connection to a replica."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange: Exchange | None = exchange
        self._transport: asyncio.Transport
        self._received: bytearray | None = bytearray()  # the answer until its head is complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._exchange is not None:
            self._exchange.begin(self)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            return
        if self._received is None:
            self._exchange.pass_back(data)
            return
        self._received += data
        self._read_heads(self._exchange, self._received)

    def _read_heads(self, exchange: Exchange, received: bytearray) -> None:
        while (end := received.find(HEAD_END)) >= 0:
            try:
                head = AnswerHead.parse(bytes(received[:end]))
            except ValueError:
                self._transport.abort()
                return
            del received[: end + len(HEAD_END)]
            if not exchange.answer_begins(head):
                self._exchange = None
                self._transport.abort()
                return
            if not head.is_interim:
                self._received = None
                exchange.pass_back(bytes(received))
                return

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if exc is None:
            exchange.upstream_ended()
        else:
            exchange.cut()

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.pause_reading()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.resume_reading()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def cut(self) -> None:
        """Nobody waits for the answer any more."""
        self._exchange = None
        self._transport.abort()


def departed(exchanges: list[Exchange]) -> list[Exchange]:
    """Those whose connection Envoy has closed. Asked from the kernel: while they are held nobody reads them."""
    poll = select.poll()
    by_descriptor = {exchange.descriptor: exchange for exchange in exchanges}
    for descriptor in by_descriptor:
        if descriptor >= 0:
            poll.register(descriptor, 0)  # for hang-ups and errors only
    hung_up = {descriptor for descriptor, _ in poll.poll(0)}
    return [exchange for exchange in exchanges if exchange.descriptor in hung_up | {-1}]
