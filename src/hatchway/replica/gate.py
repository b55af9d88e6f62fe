"""Carries out admission on the event loop: runs jobs when a slot is free, and watches their deadlines.

A job that waits past its deadline never runs. One that runs past it is told so, but keeps its slot until it is
really gone; if that takes longer than a grace, the replica is stuck and must be replaced.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hatchway.replica.admission import Admission, Verdict

SHORTEST_STUCK_GRACE_S = 5.0


class Job(Protocol):
    """What passes the gate: one request."""

    deadline: float  # on time.monotonic(); inf for none
    started_at: float
    answered: bool

    def run(self) -> None:
        """A slot is yours; give it back with `Gate.leave`."""
        ...

    def time_out(self, *, is_running: bool) -> None:
        """The deadline passed before the first byte of the answer."""
        ...

    def refuse(self) -> None:
        """It will not be run here; somebody else may."""
        ...

    def stack(self) -> str:
        """Where it is now, as a traceback."""
        ...


class Gate:
    """Slots, queue and deadlines of one replica."""

    def __init__(self, admission: Admission[Job], timeout_s: float, on_stuck: Callable[[Job], None]) -> None:
        self.admission = admission
        self.timeout_s = timeout_s if timeout_s > 0 else math.inf  # 0: no limit
        self.stuck: set[Job] = set()
        self._on_stuck = on_stuck
        self._live: set[Job] = set()  # waiting or running
        self._overdue: dict[Job, float] = {}  # timed out but still running -> when it counts as stuck
        self._next: deque[Job] = deque()
        self._is_starting = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_idle(self) -> bool:
        """Nothing runs or waits, but for what is stuck."""
        return self.admission.in_flight == len(self.stuck) and not self.admission.queued

    def enter(self, job: Job, now: float) -> Verdict:
        if len(self.stuck) >= self.admission.max_concurrency:
            return Verdict.FULL
        verdict = self.admission.enter(job)
        if verdict is Verdict.FULL:
            return verdict
        self._live.add(job)
        if job.deadline < self._timer_at:
            self._arm(job.deadline, now)
        if verdict is Verdict.RUN:
            job.started_at = now
            job.run()
        return verdict

    def leave(self, job: Job) -> None:
        """The job is over and its slot free."""
        self._live.discard(job)
        self._overdue.pop(job, None)
        self.stuck.discard(job)
        successor = self.admission.release(time.monotonic())
        if successor is not None:
            self._next.append(successor)
            self._start_next()
        elif self.is_idle:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Returns when nothing runs or waits, but for what is stuck."""
        while not self.is_idle:
            self._idle.clear()
            await self._idle.wait()

    def withdraw(self, job: Job) -> bool:
        """Drop a job that waits; False if it does not."""
        if self.admission.withdraw(job):
            self._live.discard(job)
            return True
        return False

    def _start_next(self) -> None:
        # A loop and not a call from each to the next: jobs may be over as soon as they are run.
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._next:
                job = self._next.popleft()
                job.started_at = time.monotonic()
                job.run()
        finally:
            self._is_starting = False

    def _arm(self, when: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_later(max(0.0, when - now), self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        self._timer, self._timer_at = None, math.inf
        for job in list(self._live):
            if job.answered:
                job.deadline = math.inf
            elif job.deadline <= now:
                self._expire(job)
        for job, stuck_at in list(self._overdue.items()):
            if stuck_at <= now and job in self._overdue:
                del self._overdue[job]
                self._give_up(job)
        upcoming = min([job.deadline for job in self._live] + list(self._overdue.values()), default=math.inf)
        if upcoming < self._timer_at:
            self._arm(upcoming, now)

    def _expire(self, job: Job) -> None:
        job.deadline = math.inf
        if self.withdraw(job):
            job.time_out(is_running=False)
            return
        grace_s = max(self.timeout_s, SHORTEST_STUCK_GRACE_S)
        self._overdue[job] = job.started_at + self.timeout_s + grace_s
        job.time_out(is_running=True)

    def _give_up(self, job: Job) -> None:
        self.stuck.add(job)
        self._on_stuck(job)
        if len(self.stuck) >= self.admission.max_concurrency:
            for waiting in self.admission.waiting():
                self.withdraw(waiting)
                waiting.refuse()
        if self.is_idle:
            self._idle.set()
