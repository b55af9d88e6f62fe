"""A client that asks an API for all kinds of answers at once, and counts what it gets."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

HANDLER = """
import time

class Handler:
    def __init__(self, config):
        self.version = config["version"]

    def handle_get(self):
        for _ in range(3):
            yield "more\\n"
            time.sleep(0.01)

    def handle_post(self, payload):
        time.sleep(payload["sleep_s"])
        if payload["fails"]:
            raise RuntimeError("as asked")
        return self.version
"""

CALLERS = 12  # more than two replicas of one slot and a short queue can take: some are refused, some tried twice
LEFT = 0  # the status of a caller that went away without an answer


class Mixed:
    """`answers` counts by status, for paths of the API and for others, once `end` was called."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.of_api: Counter[int] = Counter()
        self.of_none: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), name="mixed client")
        self._thread.start()

    def wait_for_more(self, count: int) -> None:
        """Until so many more were answered."""
        with self._changed:
            goal = self.of_api.total() + count
            assert self._changed.wait_for(lambda: self.of_api.total() >= goal, 60), "the client got no answers"

    def end(self) -> None:
        self._ending.set()
        self._thread.join(30)

    async def _ask(self) -> None:
        async with httpx.AsyncClient(timeout=30) as http:
            await asyncio.gather(*(self._call(http, number) for number in range(CALLERS)))

    async def _call(self, http: httpx.AsyncClient, number: int) -> None:
        while not self._ending.is_set():
            number += 1
            if number % 7 == 0:
                self.of_none[(await http.get(f"{self._url}-not/here")).status_code] += 1
            status = await self._one(http, number % 10)
            with self._changed:
                self.of_api[status] += 1
                self._changed.notify_all()

    async def _one(self, http: httpx.AsyncClient, kind: int) -> int:
        if kind == 0:
            return (await http.get(self._url)).status_code  # a stream
        if kind == 1:
            return (await http.put(self._url)).status_code
        if kind == 2:
            return (await http.post(self._url, content=b"x" * 2000)).status_code
        return (await http.post(self._url, json={"sleep_s": 0.005, "fails": kind == 3})).status_code


def leave(url: str) -> None:
    """Ask for what takes two seconds, and do not wait for it."""
    with suppress(httpx.ReadTimeout):
        httpx.post(url, json={"sleep_s": 2, "fails": False}, timeout=httpx.Timeout(30, read=0.2))
        raise AssertionError("the answer came too soon")


@contextmanager
def mixed(url: str) -> Iterator[Mixed]:
    """Requests until the block ends."""
    client = Mixed(url)
    try:
        yield client
    finally:
        client.end()
