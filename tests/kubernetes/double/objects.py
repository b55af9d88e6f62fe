"""All objects, their versions and their history, and who watches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.kubernetes.double.failures import expired
from tests.kubernetes.double.kinds import Kind
from tests.kubernetes.double.schemas import Json

HISTORY = 2000  # events that a watch can go back to

Key = tuple[str, str]  # group and plural: every version of a kind holds the same objects
Name = tuple[str, str]  # namespace ("" without one) and name


@dataclass(frozen=True)
class Change:
    """`before` is None for what was created, `after` for what is gone; `version` is that of the change."""

    version: int
    key: Key
    name: Name
    before: Json | None
    after: Json | None


class Objects:
    """Stored objects are never changed, only replaced. To be used in one event loop."""

    def __init__(self) -> None:
        self.version = 1000
        self._objects: dict[Key, dict[Name, Json]] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._forgotten = 999  # the newest version that no watch can start from
        self._watches: set[asyncio.Queue[Change | None]] = set()

    def get(self, key: Key, name: Name) -> Json | None:
        return self._objects.get(key, {}).get(name)

    def all(self, key: Key) -> list[Json]:
        """By namespace and name."""
        return [obj for _, obj in sorted(self._objects.get(key, {}).items())]

    def everything(self) -> Iterator[tuple[Key, Name, Json]]:
        for key, objects in self._objects.items():
            for name, obj in list(objects.items()):
                yield key, name, obj

    def put(self, kind: Kind, obj: Json) -> Json:
        """Store an object under a new version; the object as stored."""
        self.version += 1
        metadata = obj["metadata"]
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        key, name = key_of(kind), (metadata.get("namespace", ""), metadata["name"])
        before = self.get(key, name)
        self._objects.setdefault(key, {})[name] = stored
        self._publish(Change(self.version, key, name, before, stored))
        return stored

    def remove(self, kind: Kind, name: Name) -> Json:
        self.version += 1
        key = key_of(kind)
        gone = self._objects[key].pop(name)
        gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
        self._publish(Change(self.version, key, name, gone, None))
        return gone

    def _publish(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].version
        self._history.append(change)
        for watch in self._watches:
            watch.put_nowait(change)

    def watch(self, since: int) -> asyncio.Queue[Change | None]:
        """Every change after `since`; None when the server ends. Raises Refused (410)."""
        if since < self._forgotten:
            raise expired()
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        for change in self._history:
            if change.version > since:
                queue.put_nowait(change)
        self._watches.add(queue)
        return queue

    def unwatch(self, queue: asyncio.Queue[Change | None]) -> None:
        self._watches.discard(queue)

    def drop_watches(self) -> int:
        """End every open watch in the middle of its stream; how many there were."""
        watches, self._watches = self._watches, set()
        for watch in watches:
            watch.put_nowait(None)
        return len(watches)

    def compact(self) -> None:
        """No watch can start from a version before now."""
        self._history.clear()
        self._forgotten = self.version


def key_of(kind: Kind) -> Key:
    return kind.group, kind.plural
