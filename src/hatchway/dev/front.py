"""What clients connect to: a TCP port of this machine, whose requests go to the replicas as the gateway sends them.

A connection carries one request; bodies are passed on unread, so streams, uploads and web sockets are all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from secrets import token_hex
from typing import Protocol

from hatchway.dev.heads import HEAD_END, MAX_HEAD_BYTES, RequestHead, find_endpoint, make_error, status_of
from hatchway.errors import UsageError

DEFAULT_PORT = 8000
TRIED_PORTS = 100
LINGER_S = 2.0  # how long a client that was answered early may go on sending
_CHUNK_BYTES = 64 * 1024


class Unavailable(Exception):
    """An API has no replica; the message says why."""


class Desk(Protocol):
    """Knows where the APIs are."""

    def endpoints(self) -> Collection[str]: ...

    async def address(self, endpoint: str) -> str:
        """The data socket of the API's replica, once it has one. Raises Unavailable."""
        ...


@dataclass(frozen=True)
class Answered:
    """One request that is over. `status` 0: its client left before there was an answer."""

    method: str
    target: str
    status: int
    took_s: float


class Front:
    """Answers clients. `on_answered` is told of every request."""

    def __init__(self, desk: Desk, on_answered: Callable[[Answered], None]) -> None:
        self._desk = desk
        self._on_answered = on_answered
        self._clients: set[asyncio.Task[None]] = set()

    async def run(self, sock: socket.socket) -> None:
        """Serve until cancelled; then every connection is closed."""
        server = await asyncio.start_server(self._serve, sock=sock, limit=MAX_HEAD_BYTES)
        try:
            await server.serve_forever()
        finally:
            server.close()
            for task in self._clients:
                task.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            # A client that leaves, or sends nonsense, is not our problem.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)
                await _finish(reader, writer)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = RequestHead.parse((await reader.readuntil(HEAD_END))[: -len(HEAD_END)])
        except asyncio.LimitOverrunError:
            message = f"the request's headers exceed {MAX_HEAD_BYTES} bytes"
            writer.write(
                make_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message, token_hex(16))
            )
            return
        except ValueError as exc:
            message = f"this is not valid HTTP: {exc}"
            writer.write(make_error(HTTPStatus.BAD_REQUEST, "bad_request", message, token_hex(16)))
            return
        began, status = time.monotonic(), 0
        try:
            status = await self._answer(head, reader, writer)
        finally:
            self._on_answered(Answered(head.method, head.target, status, time.monotonic() - began))

    async def _answer(self, head: RequestHead, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Returns the status; 0 when the client left."""
        endpoint = find_endpoint(head.path, self._desk.endpoints())
        if endpoint is None:
            known = ", ".join(sorted(self._desk.endpoints())) or "none yet"
            message = f"no API at {head.path}; there is: {known}"
            return _refuse(head, writer, HTTPStatus.NOT_FOUND, "not_found", message)
        try:
            address = await self._desk.address(endpoint)
            upstream = await asyncio.open_unix_connection(address)
        except (Unavailable, OSError) as exc:
            return _refuse(head, writer, HTTPStatus.SERVICE_UNAVAILABLE, "no_replica", str(exc))
        client = str(writer.get_extra_info("peername")[0])
        try:
            upstream[1].write(head.to_replica(endpoint, client))
            status = await _relay(reader, writer, upstream)
        finally:
            upstream[1].close()
        if status is None:
            message = "the replica ended before it answered; see its terminal"
            return _refuse(head, writer, HTTPStatus.SERVICE_UNAVAILABLE, "no_replica", message)
        return status


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> int | None:
    """Pass bytes on in both directions until one side is through. None: the replica said nothing."""
    answer = _Answer()
    sending = asyncio.create_task(_send(reader, upstream[1]), name="to replica")
    receiving = asyncio.create_task(answer.pass_back(upstream[0], writer), name="from replica")
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done() and sending.exception() is not None:
            await asyncio.wait({receiving})  # the replica takes no more of the body, and has said why
        if not receiving.done():
            return answer.status or 0  # the client has left
        return answer.status
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


async def _send(reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_CHUNK_BYTES):
        upstream.write(piece)
        await upstream.drain()


class _Answer:
    """An answer on its way back."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._begin = b""

    async def pass_back(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await upstream.read(_CHUNK_BYTES):
            if self.status is None:
                self._begin += piece
                self.status = status_of(self._begin)
            writer.write(piece)
            await writer.drain()


def _refuse(head: RequestHead, writer: asyncio.StreamWriter, status: HTTPStatus, kind: str, message: str) -> int:
    writer.write(make_error(status, kind, message, head.request_id or token_hex(16)))
    return status.value


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that no more comes. Closing at once would throw the answer away with what was not read."""
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while await reader.read(_CHUNK_BYTES):
                pass


def listen(port: int | None) -> socket.socket:
    """A listening socket on this machine's own address. None: the first free port from 8000 on.

    Raises UsageError for a port that is taken.
    """
    wanted = range(DEFAULT_PORT, DEFAULT_PORT + TRIED_PORTS) if port is None else (port,)
    for candidate in wanted:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", candidate))
            sock.listen()
        except OSError as exc:
            sock.close()
            reason = exc.strerror
            continue
        sock.setblocking(False)
        return sock
    where = f"port {port}" if port is not None else f"ports {wanted[0]} to {wanted[-1]}"
    raise UsageError(f"{where}: {reason}", hint="name a free one with --port, or 0 for any")
