"""What a client follows over the engines that come and go: each is asked for what the one before had not told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

from hatchway.client import calls
from hatchway.client.calls import LogFilters, Stream
from hatchway.client.events import Deleted
from hatchway.errors import EngineUnavailable, UsageError
from hatchway.spec.logs import parse_moment
from hatchway.spec.status import ApiStatus, LogLine

T = TypeVar("T")

OVERLAP_S = 2.0  # lines of several replicas come in the order of time only nearly


class Feed(ABC, Generic[T]):
    """A stream that can be asked for again. `has_begun`: an engine has answered; `is_over`: there is no more of it."""

    def __init__(self, *, has_begun: bool = False) -> None:
        self.has_begun = has_begun
        self.is_over = False

    @abstractmethod
    def stream(self, now: float) -> Stream[T | Deleted]:
        """The request to send, the first time or again. `now`: seconds since the epoch, as is every time here."""

    @abstractmethod
    def new(self, item: T) -> T | None:
        """`item`, unless it was seen before."""

    def see(self, item: T | Deleted | None) -> T | None:
        """What a line of the stream says that is new."""
        self.has_begun = True
        if isinstance(item, Deleted):
            self.is_over = True
            return None
        return None if item is None else self.new(item)

    def close(self) -> None:
        """The stream has ended. Raises EngineUnavailable when its end was not that of what it told of."""
        if not self.is_over:
            raise EngineUnavailable("the engine went away", hint="start it with: hatchway up")


class LogPosition:
    """How far log lines were read, so that after an interruption none is missed and none is told twice."""

    def __init__(self) -> None:
        self.since: float | None = None  # where to read on; None: from the beginning
        self._recent: deque[tuple[float, LogLine]] = deque()
        self._again: Counter[LogLine] = Counter()

    def resume(self) -> None:
        """Lines come again from `since` on."""
        self._again = Counter(line for _, line in self._recent)

    def is_new(self, line: LogLine) -> bool:
        if self._again[line] > 0:
            self._again[line] -= 1
            return False
        try:
            written = datetime.fromisoformat(line.time).timestamp()
        except ValueError:  # what a handler writes in our form may hold anything
            return True
        self._recent.append((written, line))
        self.since = max(self.since or 0.0, written - OVERLAP_S)
        while self._recent and self._recent[0][0] < self.since:
            self._recent.popleft()
        return True


class WatchFeed(Feed[ApiStatus | LogLine]):
    """An API's status and, with `logs`, its new log lines and those that are at most `since_s` old."""

    def __init__(self, name: str, *, logs: bool, since_s: float = 0.0, has_begun: bool = False) -> None:
        super().__init__(has_begun=has_begun)
        self._name = name
        self._logs = logs
        self._since_s = since_s
        self._position = LogPosition()
        self._last: ApiStatus | None = None

    def stream(self, now: float) -> Stream[ApiStatus | LogLine | Deleted]:
        if self._position.since is None:
            self._position.since = now - self._since_s
        self._position.resume()
        return calls.watch(self._name, logs=self._logs, since_s=now - self._position.since)

    def new(self, item: ApiStatus | LogLine) -> ApiStatus | LogLine | None:
        if isinstance(item, LogLine):
            return item if self._position.is_new(item) else None
        if item == self._last:
            return None
        self._last = item
        return item


class LogFeed(Feed[LogLine]):
    """The wanted ones of an API's log lines. Raises UsageError for a limit: what is followed has no end."""

    def __init__(self, name: str, filters: LogFilters) -> None:
        super().__init__()
        if filters.max_bytes is not None:
            raise UsageError("max_bytes and follow do not go together")
        self._name = name
        self._filters = filters
        self._position = LogPosition()
        self._asked_at: float | None = None

    def stream(self, now: float) -> Stream[LogLine]:
        since = self._filters.since
        if self._asked_at is None:
            self._asked_at = now
        elif self._position.since is not None:
            since = calls.age(now - self._position.since)
        elif since is not None:  # an age grew while nobody answered
            since = calls.age(now - parse_moment(since, self._asked_at))
        self._position.resume()
        return calls.logs(self._name, replace(self._filters, since=since), follow=True)

    def new(self, item: LogLine) -> LogLine | None:
        return item if self._position.is_new(item) else None
