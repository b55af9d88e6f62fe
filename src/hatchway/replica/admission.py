"""Who may come in, who waits and who is refused: slots, a bounded first-in first-out queue, and one answer.

Pure: time is passed in, nothing is run here. `gate.py` carries the decisions out. All of it belongs to the event loop
but for `take`, which a worker thread may call: it is one step of an OrderedDict, and so is what the loop does to the
same dictionary, so nobody is ever both taken and withdrawn.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST_RETRY_AFTER_S = 60
MEASURED_RELEASES = 64


class Admission(Generic[T]):
    """As many run at once as somebody takes, meant to be `max_concurrency`; `max_queue_length` more may wait.

    A job is in flight from being taken until its `release`.
    """

    def __init__(self, max_concurrency: int, max_queue_length: int) -> None:
        self.max_concurrency = max_concurrency
        self.max_queue_length = max_queue_length
        self._admitted = 0
        self._queue: OrderedDict[T, float] = OrderedDict()  # -> when it came
        self._releases: deque[float] = deque(maxlen=MEASURED_RELEASES)

    @property
    def in_flight(self) -> int:
        return self._admitted - len(self._queue)

    @property
    def queued(self) -> int:
        return len(self._queue)

    def waiting(self) -> list[T]:
        """The queue, oldest first."""
        return list(self._queue)

    def is_waiting(self, job: T) -> bool:
        return job in self._queue

    def oldest_came_at(self) -> float:
        """When the first of the queue came; inf if there is none."""
        while True:
            try:
                return next(iter(self._queue.values()), math.inf)
            except RuntimeError:  # another thread took one at this moment
                continue

    def enter(self, job: T, now: float) -> bool:
        """It waits, if only until somebody takes it in the next moment; or False: there is no room."""
        if self._admitted >= self.max_concurrency + self.max_queue_length:
            return False
        self._admitted += 1
        self._queue[job] = now
        return True

    def take(self) -> T | None:
        """The one that has waited longest, which must be run; None if nobody waits. From any thread."""
        try:
            return self._queue.popitem(last=False)[0]
        except KeyError:
            return None

    def release(self, now: float) -> None:
        """A job that was taken is over."""
        self._releases.append(now)
        self._admitted -= 1

    def withdraw(self, job: T) -> bool:
        """Take a job out of the queue, so that it never runs. False if it was not waiting."""
        if self._queue.pop(job, None) is None:
            return False
        self._admitted -= 1
        return True

    def retry_after_s(self, now: float) -> int:
        """Whole seconds after which the queue will have room, from the measured rate of releases; at least 1.

        64 releases in the last 8 s and 100 waiting: 101 / 8 per second, so 13 s.
        """
        if len(self._releases) < 2:
            return 1
        # Up to now and not to the last release: a replica that hangs is draining ever more slowly.
        rate_per_s = len(self._releases) / max(now - self._releases[0], 1e-6)
        return max(1, min(LONGEST_RETRY_AFTER_S, math.ceil((self.queued + 1) / rate_per_s)))
