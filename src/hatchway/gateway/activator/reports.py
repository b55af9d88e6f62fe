"""Tells whoever listens what is held: one line of JSON, `{"iris": 3}`, at once and after every change.

The engine connects when it lives. So one that was dead learns in the same way what has been waiting for it, and the
activator keeps nothing for it meanwhile.
"""

from __future__ import annotations

import asyncio
import json

MOST_UNREAD_BYTES = 1024 * 1024
QUIET_S = 0.02  # changes are told at once, but not more often than this


class Reports:
    """What is held, and who wants to know."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._listeners: set[Listener] = set()
        self._timer: asyncio.TimerHandle | None = None

    def connect(self) -> Listener:
        """The protocol factory of the reports socket."""
        return Listener(self)

    def tell(self, held: dict[str, int]) -> None:
        """So much is held now."""
        self._held = held
        if self._timer is None and self._listeners:
            self._tell_all()

    def joined(self, listener: Listener) -> None:
        self._listeners.add(listener)
        listener.tell(self._report())

    def left(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def _tell_all(self) -> None:
        self._timer = None
        report = self._report()
        for listener in self._listeners:
            listener.tell(report)
        self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._after_quiet)

    def _after_quiet(self) -> None:
        self._timer = None
        if any(listener.told != self._report() for listener in self._listeners):
            self._tell_all()

    def _report(self) -> bytes:
        return json.dumps(self._held, sort_keys=True).encode() + b"\n"


class Listener(asyncio.Protocol):
    """One engine. What it sends is ignored."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._transport: asyncio.Transport
        self.told = b""  # the last report

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MOST_UNREAD_BYTES)
        self._reports.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reports.left(self)

    def pause_writing(self) -> None:
        """It does not read. A new connection will tell it everything."""
        self._transport.abort()

    def tell(self, report: bytes) -> None:
        if report != self.told:
            self.told = report
            self._transport.write(report)
