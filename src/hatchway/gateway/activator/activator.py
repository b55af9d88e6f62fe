"""Hands held requests to ready replicas, each once.

While anything of an API is held a task looks after it: it drops requests whose senders have left, asks which replicas
are ready, and gives them what is due. It looks when a request arrives and then every POLL_S; nothing runs when
nothing is held.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine
from http import HTTPStatus

from hatchway.gateway.activator.exchange import Exchange, Upstream, departed
from hatchway.gateway.activator.replicas import CHECK_TIMEOUT_S, Replicas, connect, host_and_port, is_path
from hatchway.gateway.activator.waiting import FIRST_DELAY_S, Waiting, delay_s, least_busy

POLL_S = 0.01

_GOING_DOWN = "the gateway is going down"


class Activator:
    """All requests of one home that no replica could take.

    `on_change` is told how many are held of which API, whenever that may have changed.
    """

    def __init__(self, replicas: Replicas, on_change: Callable[[dict[str, int]], None]) -> None:
        self._replicas = replicas
        self._on_change = on_change
        self._waiting: Waiting[Exchange] = Waiting()
        self._wakes: dict[str, asyncio.Event] = {}  # APIs that are looked after
        self._tasks: set[asyncio.Task[object]] = set()
        self._sent: dict[Exchange, str] = {}  # -> the replica's data socket
        self._busy: Counter[str] = Counter()  # data socket -> requests sent there and not over yet
        self._open: set[Exchange] = set()
        self._is_refusing = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def connect(self) -> Exchange:
        """The protocol factory of the data socket."""
        exchange = Exchange(self)
        self._open.add(exchange)
        self._is_empty.clear()
        return exchange

    def refuse_all(self) -> None:
        """Answer what is held, and from now on what arrives: nothing will come up any more."""
        self._is_refusing = True
        for api in self._waiting.counts():
            for exchange in self._waiting.of(api):
                self._give_up(exchange, _GOING_DOWN)

    async def wait_empty(self) -> None:
        """Returns when no connection is open."""
        await self._is_empty.wait()

    # --- what exchanges report ---------------------------------------------------------------------------
    def arrived(self, exchange: Exchange) -> None:
        terms = exchange.head.terms
        if self._is_refusing:
            _refuse(exchange, _GOING_DOWN)
            return
        if not self._waiting.enter(terms.api, exchange, terms.max_held):
            already = f", and {terms.max_held} requests wait for one already" if terms.max_held else ""
            _refuse(exchange, f"no replica of this API is ready{already}")
            return
        self._look_after(terms.api)
        self._on_change(self._waiting.counts())

    def expired(self, exchange: Exchange) -> None:
        self._give_up(exchange, "no replica could take the request in time")

    def refused(self, exchange: Exchange) -> None:
        self._forget_sent(exchange)
        self._hold_again(exchange, delay_s(exchange.n_refused))
        if self._is_refusing:
            self._give_up(exchange, _GOING_DOWN)

    def ended(self, exchange: Exchange) -> None:
        self._forget_sent(exchange)
        if self._waiting.leave(exchange):
            self._on_change(self._waiting.counts())
        self._open.discard(exchange)
        if not self._open:
            self._is_empty.set()

    def _give_up(self, exchange: Exchange, message: str) -> None:
        if self._waiting.leave(exchange):
            _refuse(exchange, message)
            self._on_change(self._waiting.counts())

    def _hold_again(self, exchange: Exchange, for_s: float) -> None:
        api = exchange.head.terms.api
        self._waiting.put_back(api, exchange, asyncio.get_running_loop().time() + for_s)
        self._look_after(api)
        self._on_change(self._waiting.counts())

    # --- handing over ------------------------------------------------------------------------------------
    def _look_after(self, api: str) -> None:
        if api in self._wakes:
            self._wakes[api].set()
        else:
            self._wakes[api] = asyncio.Event()
            self._start(asyncio.create_task(self._serve(api, self._wakes[api]), name=f"serve {api}"))

    async def _serve(self, api: str, wake: asyncio.Event) -> None:
        try:
            while self._waiting.of(api):
                wake.clear()
                await self._hand_over(api)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await wake.wait()
        finally:
            del self._wakes[api]

    async def _hand_over(self, api: str) -> None:
        now = asyncio.get_running_loop().time()
        ready = await self._replicas.ready(api) if self._waiting.due(api, now) else []
        for exchange in departed(self._waiting.of(api)):
            self._waiting.leave(exchange)
            exchange.cut()
        for exchange in self._waiting.due(api, now) if ready else ():
            self._send(exchange, least_busy(ready, self._busy))
        self._on_change(self._waiting.counts())

    def _send(self, exchange: Exchange, address: str) -> None:
        self._waiting.leave(exchange)
        connected: Coroutine[object, object, object]
        if is_path(address):
            sock = connect(address)
            if sock is None:
                self._hold_again(exchange, FIRST_DELAY_S)
                return
            connected = asyncio.get_running_loop().create_unix_connection(lambda: Upstream(exchange), sock=sock)
        else:
            connected = self._reach(exchange, address)
        self._sent[exchange] = address
        self._busy[address] += 1
        self._start(asyncio.create_task(connected, name="to replica"))

    async def _reach(self, exchange: Exchange, address: str) -> None:
        """Over a network that takes time, which is the request's; nothing was sent while there is no connection."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await loop.create_connection(lambda: Upstream(exchange), *host_and_port(address))
        except OSError:  # TimeoutError is one
            self._forget_sent(exchange)
            self._hold_again(exchange, FIRST_DELAY_S)
            if loop.time() >= exchange.deadline:
                self.expired(exchange)

    def _forget_sent(self, exchange: Exchange) -> None:
        address = self._sent.pop(exchange, None)
        if address is not None:
            self._busy[address] -= 1
            if not self._busy[address]:
                del self._busy[address]

    def _start(self, task: asyncio.Task[object]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refuse(exchange: Exchange, message: str) -> None:
    exchange.fail(HTTPStatus.SERVICE_UNAVAILABLE, "no_replica", message)
