"""Requests that an operator passes on to the one that leads: only that one has the controller's memory.

Passed on once, never in a circle: who gets a request that was passed on, and does not lead either, says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import httpx
from starlette.types import Receive, Scope, Send

from hatchway.errors import EngineUnavailable
from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.resources import LEASES, PODS
from hatchway.operator.leadership import NAME, holder

log = logging.getLogger(__name__)

RELAYED = b"x-hatchway-relayed"
CONNECT_TIMEOUT_S = 5.0
_OF_A_CONNECTION = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"})

Headers = list[tuple[bytes, bytes]]


class LeaderAddress:
    """Where the operator that leads has its control API."""

    def __init__(self, server: ApiServer, port: int) -> None:
        self._server = server
        self._port = port

    async def __call__(self) -> str | None:
        """None: nobody leads."""
        try:
            pod, _, _ = holder(await self._server.find(LEASES, NAME)).rpartition("_")
            found = await self._server.find(PODS, pod) if pod else None
        except (Refused, Unreachable) as exc:
            log.info("who leads is not known: %s", exc)
            return None
        address = (found or {}).get("status", {}).get("podIP")
        return f"http://{address}:{self._port}" if address else None


class Relay:
    """An ASGI application. `leader` says where the one that leads is."""

    def __init__(self, leader: Callable[[], Awaitable[str | None]]) -> None:
        self._leader = leader
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        self._http = httpx.AsyncClient(timeout=timeout, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = scope["headers"]
        is_relayed = any(name == RELAYED for name, _ in headers)
        url = None if is_relayed else await self._leader()
        if url is None:
            await _refuse(send, "no operator leads at this moment")
            return
        query = scope["query_string"].decode("latin-1")
        request = self._http.build_request(
            scope["method"],
            f"{url}{scope['raw_path'].decode('latin-1')}{'?' * bool(query)}{query}",
            headers=[*_passed_on(headers), (RELAYED, b"1")],
            content=_body(receive),
        )
        try:
            answer = await self._http.send(request, stream=True)
        except httpx.HTTPError as exc:
            await _refuse(send, f"the operator that leads does not answer: {exc!r}")
            return
        try:
            await _pass_back(answer, send)
        finally:
            await answer.aclose()


async def _pass_back(answer: httpx.Response, send: Send) -> None:
    headers = _passed_on(answer.headers.raw)
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    async for chunk in answer.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _OF_A_CONNECTION]


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _refuse(send: Send, message: str) -> None:
    body = json.dumps({"error": EngineUnavailable(message, hint="one is elected within seconds").to_dict()}).encode()
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"2")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
