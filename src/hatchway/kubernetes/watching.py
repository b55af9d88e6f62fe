"""A copy of all objects of one kind, kept current by a list and a watch, whatever happens to the connection.

    list -> watch from its version -> the stream ends or breaks -> watch from the last version seen
                                   -> the server refuses that (410 and others) -> list again

What a list shows to be gone was deleted while nobody watched: it is told like any other deletion.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.limits import Backoff
from hatchway.kubernetes.resources import Json, Resource

log = logging.getLogger(__name__)

# Streams of different lengths, so that thousands of watches do not begin anew in the same moment.
SHORTEST_WATCH_S, LONGEST_WATCH_S = 60, 120
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0

OnChange = Callable[[Json | None, Json | None], None]


class Watch:
    """`on_change(before, after)` is called for each object that came (no `before`), changed, or went (no `after`).

    `trim` leaves of an object what is needed, with its metadata: there may be ten thousand.
    """

    def __init__(
        self,
        server: ApiServer,
        resource: Resource,
        on_change: OnChange,
        *,
        labels: str = "",
        trim: Callable[[Json], Json] = lambda obj: obj,
    ) -> None:
        self._server = server
        self._resource = resource
        self._on_change = on_change
        self._labels = labels
        self._trim = trim
        self._objects: dict[str, Json] = {}
        self._version: str | None = None
        self._pauses = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._is_complete = asyncio.Event()

    def get(self, name: str) -> Json | None:
        """As last told; not to be changed."""
        return self._objects.get(name)

    def all(self) -> Collection[Json]:
        return self._objects.values()

    async def complete(self) -> None:
        """Returns when the first list is in."""
        await self._is_complete.wait()

    def learn(self, obj: Json) -> None:
        """Take in what the server answered to a write of ours, ahead of the watch. What is older changes nothing."""
        is_gone_since = obj["metadata"]["name"] not in self._objects and _number(obj) <= int(self._version or 0)
        if not is_gone_since:
            self._take(obj)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._follow()
            except Refused as refused:
                log.info("listing %s again: %s", self._resource.plural, refused)
                self._version = None
                await self._pause()
            except Unreachable as exc:
                log.info("watching %s again: %s", self._resource.plural, exc)
                await self._pause()

    async def _list(self) -> None:
        """Page by page: all of them at once, untrimmed, would be most of our memory."""
        names: set[str] = set()
        version: str | None = None
        async for objects, at in self._server.pages(self._resource, labels=self._labels):
            version = at
            for obj in objects:
                names.add(obj["metadata"]["name"])
                self._take(obj)
        for name in [name for name in self._objects if name not in names]:
            self._forget(name)
        self._version = version
        self._is_complete.set()
        self._pauses.reset()

    async def _follow(self) -> None:
        assert self._version is not None
        length_s = SHORTEST_WATCH_S + int(self._server.chance() * (LONGEST_WATCH_S - SHORTEST_WATCH_S))
        began = self._version
        async with self._server.watch(self._resource, began, labels=self._labels, timeout_s=length_s) as events:
            async for event in events:
                obj = event["object"]
                self._version = obj["metadata"]["resourceVersion"]
                self._pauses.reset()
                if event["type"] == "DELETED":
                    self._forget(obj["metadata"]["name"], obj)
                elif event["type"] != "BOOKMARK":
                    self._take(obj)
        if self._version == began:  # a server that ends streams at once is not asked in a loop
            await self._pause()

    async def _pause(self) -> None:
        await self._server.sleep(self._pauses.next_s(self._server.chance()))

    def _take(self, obj: Json) -> None:
        name = obj["metadata"]["name"]
        before = self._objects.get(name)
        if before is not None and _number(obj) <= _number(before):
            return
        kept = self._objects[name] = self._trim(obj)
        self._on_change(before, kept)

    def _forget(self, name: str, last: Json | None = None) -> None:
        """`last`: as it was when it went. One that was made anew since, under the same name, stays."""
        before = self._objects.get(name)
        if before is None or (last is not None and _number(last) < _number(before)):
            return
        del self._objects[name]
        self._on_change(before, None)


def _number(obj: Json) -> int:
    """Versions of one kind can be compared since Kubernetes 1.35; before, every server did it so too."""
    return int(obj["metadata"]["resourceVersion"])
