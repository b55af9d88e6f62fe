"""Who may run now, who waits and who is refused: slots, a bounded first-in first-out queue, and one answer.

Pure: time is passed in, nothing is run here. `gate.py` carries the decisions out.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST_RETRY_AFTER_S = 60
MEASURED_RELEASES = 64


class Verdict(Enum):
    """What becomes of a request that arrives."""

    RUN = "run"
    QUEUED = "queued"
    FULL = "full"


class Admission(Generic[T]):
    """`max_concurrency` slots and a queue of `max_queue_length`.

    A slot is held from the verdict RUN, or from being returned by `release`, until the next `release`.
    """

    def __init__(self, max_concurrency: int, max_queue_length: int) -> None:
        self.max_concurrency = max_concurrency
        self.max_queue_length = max_queue_length
        self.in_flight = 0
        self._queue: OrderedDict[T, None] = OrderedDict()
        self._releases: deque[float] = deque(maxlen=MEASURED_RELEASES)

    @property
    def queued(self) -> int:
        return len(self._queue)

    def waiting(self) -> list[T]:
        """The queue, oldest first."""
        return list(self._queue)

    def enter(self, job: T) -> Verdict:
        if self.in_flight < self.max_concurrency:
            self.in_flight += 1
            return Verdict.RUN
        if len(self._queue) < self.max_queue_length:
            self._queue[job] = None
            return Verdict.QUEUED
        return Verdict.FULL

    def release(self, now: float) -> T | None:
        """Give a slot back; the job that it goes to, which must be run, or None."""
        self._releases.append(now)
        if self._queue:
            return self._queue.popitem(last=False)[0]
        self.in_flight -= 1
        return None

    def withdraw(self, job: T) -> bool:
        """Take a job out of the queue, so that it never runs. False if it was not waiting."""
        if job in self._queue:
            del self._queue[job]
            return True
        return False

    def retry_after_s(self, now: float) -> int:
        """Whole seconds after which the queue will have room, from the measured rate of releases; at least 1.

        64 releases in the last 8 s and 100 waiting: 101 / 8 per second, so 13 s.
        """
        if len(self._releases) < 2:
            return 1
        # Up to now and not to the last release: a replica that hangs is draining ever more slowly.
        rate_per_s = len(self._releases) / max(now - self._releases[0], 1e-6)
        return max(1, min(LONGEST_RETRY_AFTER_S, math.ceil((self.queued + 1) / rate_per_s)))
