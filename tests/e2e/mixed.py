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
    """Counts by status, for the API and for other paths, and of streams that broke off: all, once `end` was called."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.of_api: Counter[int] = Counter()
        self.of_none: Counter[int] = Counter()
        self.cut_streams = 0
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mixed client")
        self._thread.start()

    def wait_for_more(self, count: int) -> None:
        """Until so many more were answered."""
        with self._changed:
            goal = self.of_api.total() + count
            ready = self._changed.wait_for(lambda: self._failure or self.of_api.total() >= goal, 60)
        self._raise_failure()
        assert ready, "the client got no answers"

    def end(self) -> None:
        self._ending.set()
        self._thread.join(30)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise AssertionError(f"a caller got no answer: {self._failure!r}") from self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._ask())
        except* httpx.HTTPError as failures:
            with self._changed:
                self._failure = failures.exceptions[0]
                self._changed.notify_all()

    async def _ask(self) -> None:
        async with httpx.AsyncClient(timeout=30) as http, asyncio.TaskGroup() as calls:
            for number in range(CALLERS):
                calls.create_task(self._call(http, number))

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
            return await self._stream(http)
        if kind == 1:
            return (await http.put(self._url)).status_code
        if kind == 2:
            return (await http.post(self._url, content=b"x" * 2000)).status_code
        return (await http.post(self._url, json={"sleep_s": 0.005, "fails": kind == 3})).status_code

    async def _stream(self, http: httpx.AsyncClient) -> int:
        async with http.stream("GET", self._url) as answer:
            try:
                await answer.aread()
            except httpx.RemoteProtocolError:
                self.cut_streams += 1
        return answer.status_code


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
