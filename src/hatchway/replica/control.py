"""The control socket: ready, live, statistics, drain. Apart from the data, so that overload never looks like death."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from hatchway.contract import CONTROL_DRAIN, CONTROL_LIVE, CONTROL_READY, CONTROL_STATS
from hatchway.replica.connection import Exchange, ExchangeFactory, Sink

if TYPE_CHECKING:
    from hatchway.replica.lifecycle import Life

LONGEST_WAIT_S = 60.0


class ControlExchange(Exchange):
    """One question of the engine's."""

    __slots__ = ("_life", "_task")

    def __init__(
        self, life: Life, connection: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(connection, method, target, headers)
        self._life = life
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        path, _, query = self.target.decode("latin-1").partition("?")
        life = self._life
        if path == CONTROL_READY:
            wait_s = min(float(parse_qs(query).get("wait_s", ["0"])[0]), LONGEST_WAIT_S)
            self._task = asyncio.get_running_loop().create_task(self._answer_ready(wait_s))
        elif path == CONTROL_LIVE:
            self.answer_json(200, {"state": life.state})
        elif path == CONTROL_STATS:
            self.answer(200, b"application/json", life.stats().to_json().encode())
        elif path == CONTROL_DRAIN and self.method == "POST":
            life.drain()
            self.answer_json(200, {"state": life.state})
        else:
            self.answer_error(404, "not_found", f"no such control path: {path}")

    def client_left(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _answer_ready(self, wait_s: float) -> None:
        state = await self._life.wait_ready(wait_s)
        self.answer_json(200 if state == "ready" else 503, {"state": state})


def control_exchanges(life: Life) -> ExchangeFactory:
    def make(connection: Sink, method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> Exchange:
        return ControlExchange(life, connection, method, target, headers)

    return make
