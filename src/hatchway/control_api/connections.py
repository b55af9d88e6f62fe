"""Connections to a TCP port: so many, none that is kept open without a request, none with a head without end.

Whoever can reach the port can connect, before any token is asked for. uvicorn bounds neither how many there are, nor
how long or how large the head of a request may be, and each takes file descriptors and memory that the engine needs.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's, with limits; a connection by a unix socket is this user's, and has none."""

    max_connections = 500
    max_head_bytes = 64 * 1024
    patience_s = 20.0  # for the whole head of a request, and for what still comes of its body after the answer

    _head_bytes = 0  # since anything else came
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # the base class's own signature is this one
        if self._is_tcp and self._count() > self.max_connections:
            self.transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_tcp and self._head_bytes > self.max_head_bytes:
            self.transport.abort()
        self._watch()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._head_bytes = 0

    @property
    def _is_tcp(self) -> bool:
        return self.client is not None

    def _count(self) -> int:
        return sum(isinstance(each, BoundedHttp) and each._is_tcp for each in self.connections)

    def _watch(self) -> None:
        """A request under way may take its time."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._forget()
        elif self._is_tcp and self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.patience_s, self.transport.abort)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
