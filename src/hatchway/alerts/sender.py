"""Posts alerts, each webhook's in their order: a receiver that is slow or down holds up its own alerts and nobody else.

Whoever has an alert to send never waits. Nothing of an address but its host is ever logged or told.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hatchway import __version__
from hatchway.alerts.clock import Clock
from hatchway.alerts.retries import Again, Answer, describe, follow_up
from hatchway.spec.webhooks import shown, without_secrets

log = logging.getLogger(__name__)

MAX_WAITING = 100  # for one webhook; then the oldest is lost
TIMEOUT_S = 10.0  # of one attempt, from first to last byte
MAX_ANSWER_BYTES = 2048  # that are read of an answer
SHOWN_CHARS = 200  # of an answer, in the log


@dataclass(frozen=True)
class Message:
    """One alert on its way. `id` is the caller's."""

    id: int
    webhook: str = field(repr=False)
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Progress:
    """How the sending of a message goes. `is_over`: it was taken, or given up."""

    is_over: bool
    is_taken: bool
    told: str  # "answered 200"


Post = Callable[[str, dict[str, Any]], Awaitable[Answer]]


class Sender:
    """`on_progress` is called after each attempt, and when a message is lost because too many wait."""

    def __init__(self, post: Post, clock: Clock, on_progress: Callable[[Message, Progress], None]) -> None:
        self._post = post
        self._clock = clock
        self._on_progress = on_progress
        self._waiting: dict[str, deque[Message]] = {}
        self._busy: set[str] = set()
        self._news = asyncio.Event()

    def send(self, message: Message) -> None:
        """Soon, after those for the same webhook."""
        queue = self._waiting.setdefault(message.webhook, deque())
        if len(queue) >= MAX_WAITING:
            lost = queue.popleft()
            log.warning("an alert for %s is lost: %d wait already", shown(lost.webhook), MAX_WAITING)
            self._on_progress(lost, Progress(is_over=True, is_taken=False, told="lost: too many wait"))
        queue.append(message)
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled; what is not sent then is the caller's to keep."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._news.wait()
                self._news.clear()
                for webhook in self._waiting.keys() - self._busy:
                    self._busy.add(webhook)
                    group.create_task(self._work_off(webhook), name=f"alerts for {shown(webhook)}")

    async def _work_off(self, webhook: str) -> None:
        queue = self._waiting[webhook]
        while queue:
            await self._deliver(queue.popleft())
        del self._waiting[webhook]
        self._busy.discard(webhook)

    async def _deliver(self, message: Message) -> None:
        began, attempts = self._clock.monotonic(), 0
        while True:
            answer = await self._post(message.webhook, message.body)
            attempts += 1
            if answer.is_taken:
                log.info("an alert was sent to %s, which answered %d", shown(message.webhook), answer.code)
                self._on_progress(message, Progress(is_over=True, is_taken=True, told=describe(answer)))
                return
            step = follow_up(answer, attempts, self._clock.monotonic() - began)
            is_over = not isinstance(step, Again)
            what = "given up" if is_over else "tried again later"
            log.warning("an alert for %s is %s: it %s", shown(message.webhook), what, describe(answer))
            self._on_progress(message, Progress(is_over=is_over, is_taken=False, told=describe(answer)))
            if not isinstance(step, Again):
                return
            await self._clock.sleep(step.after_s)


async def post(webhook: str, body: dict[str, Any]) -> Answer:
    """One attempt. Never raises for what the receiver or the network does."""
    import httpx  # only an engine with something to tell needs it

    headers = {"content-type": "application/json", "user-agent": f"hatchway/{__version__}"}
    content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
    try:
        # A connection of its own: alerts are rare, and one that was kept since the last one would be dead.
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as http,
            http.stream("POST", webhook, content=content, headers=headers) as answer,
        ):
            text = "" if answer.is_success else without_secrets(await _beginning(answer.aiter_bytes()), webhook)
            return Answer(answer.status_code, text, _seconds(answer.headers.get("retry-after")))
    except (TimeoutError, httpx.TimeoutException):
        return Answer(0, f"did not answer within {TIMEOUT_S:g} s")
    except httpx.ConnectError:
        return Answer(0, "cannot be reached")
    # What these say may name the address, so only what they are is told.
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
        return Answer(0, f"cannot be asked ({type(exc).__name__})")


async def _beginning(chunks: Any) -> str:
    """The first characters of an answer on one line. Not decoded by what it says of itself: it may be anything."""
    found = b""
    async for chunk in chunks:
        found += chunk
        if len(found) >= MAX_ANSWER_BYTES:
            break
    text = " ".join(found[:MAX_ANSWER_BYTES].decode(errors="replace").split())
    return "".join(filter(str.isprintable, text))[:SHOWN_CHARS]


def _seconds(written: str | None) -> float | None:
    """`Retry-After` in seconds; its other form, a date, counts as nothing said."""
    return float(written) if written and written.isdecimal() and len(written) < 7 else None
