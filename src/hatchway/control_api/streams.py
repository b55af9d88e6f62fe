"""Answers that go on: server-sent events and lines of JSON, sent as they happen until one side has had enough."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hatchway.errors import HatchwayError
from hatchway.spec.logs import size_bytes, told
from hatchway.spec.status import LogLine

log = logging.getLogger(__name__)

QUEUE_ITEMS = 256  # a slow reader holds the sources up instead of filling memory
KEEP_ALIVE_S = 2.0  # also how late a client, which looks at its clock when a line comes, may notice its own limit


class Stream(Response):
    """Sends what its sources yield until the first of them, the leading one, ends or the client goes away.

    A source that fails is reported with `on_error`; only the leading one's failure ends the stream.
    """

    def __init__(self, sources: Sequence[AsyncIterator[bytes]], *, media_type: str, keep_alive: bytes) -> None:
        super().__init__(media_type=media_type, headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._sources = sources
        self._keep_alive = keep_alive
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_ITEMS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # The headers must not wait for the first item, so that a client knows it is connected.
        await send({"type": "http.response.body", "body": self._keep_alive, "more_body": True})
        leading, *others = [asyncio.create_task(self._pump(source)) for source in self._sources]
        tasks = [leading, *others, asyncio.create_task(_disconnected(receive))]
        ends = [asyncio.create_task(self._end_after(task)) for task in (leading, tasks[-1])]
        try:
            await self._send_all(send)
        finally:
            for task in (*tasks, *ends):
                task.cancel()
            await asyncio.gather(*tasks, *ends, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    item = await self._queue.get()
            except TimeoutError:
                item = self._keep_alive
            if item is None:
                break
            await send({"type": "http.response.body", "body": item, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, source: AsyncIterator[bytes]) -> None:
        async for item in source:
            await self._queue.put(item)

    async def _end_after(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait([task])
        await self._queue.put(None)


async def as_events(event: str, items: AsyncIterator[BaseModel], *, last: str | None = None) -> AsyncIterator[bytes]:
    """Each item as a server-sent event; then, when there were no more of them, the empty event `last`."""
    try:
        async for item in items:
            yield _event(event, item.model_dump_json())
        if last is not None:
            yield _event(last, "{}")
    except HatchwayError as exc:
        yield _event("error", json.dumps(exc.to_dict()))
    except Exception:
        log.exception("a stream of %s events failed", event)
        yield _event("error", json.dumps(_unexpected()))


async def as_lines(items: AsyncIterator[BaseModel]) -> AsyncIterator[bytes]:
    """Each item as a line of JSON; a failure is a last line `{"error": ...}`."""
    try:
        async for item in items:
            yield item.model_dump_json().encode() + b"\n"
    except HatchwayError as exc:
        yield json.dumps({"error": exc.to_dict()}).encode() + b"\n"
    except Exception:
        log.exception("a stream of lines failed")
        yield json.dumps({"error": _unexpected()}).encode() + b"\n"


async def up_to(lines: AsyncIterator[LogLine], max_bytes: int) -> AsyncIterator[LogLine]:
    """The first of them that fit, with messages that are not too long."""
    async for whole in lines:
        line = told(whole)
        max_bytes -= size_bytes(line)
        if max_bytes < 0:
            return
        yield line


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _unexpected() -> dict[str, Any]:
    return HatchwayError("the engine failed to go on", hint="the end of its log says why").to_dict()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
