"""Carries out admission on the event loop: has jobs run when a slot is free, and watches their deadlines.

A job that waits past its deadline never runs. One that runs past it is told so, but keeps its slot until it is
really gone; if that takes longer than a grace, the replica is stuck and must be replaced.

Who runs them takes them with `Gate.take`: worker threads (workers.py), or `LoopSlots` in the event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from hatchway.replica.admission import Admission
from hatchway.replica.batching import Batching
from hatchway.replica.records import Record, as_live

SHORTEST_STUCK_GRACE_S = 5.0


class Job(Protocol):
    """What passes the gate: one request."""

    request_id: str
    deadline: float  # on time.monotonic(); inf for none
    started_at: float
    answered: bool

    @property
    def batch(self) -> object:
        """The same for all that run in one slot; None for a job with a slot of its own."""
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

    def record(self, now: float) -> Record:
        """What became of it, or what is so far."""
        ...


class Runner(Protocol):
    """What has slots to run jobs in."""

    def wake(self) -> None:
        """There is a job to take."""
        ...


class Gate:
    """Slots, queue and deadlines of one replica. `runner` is set by whoever runs the jobs."""

    runner: Runner

    def __init__(self, admission: Admission[Job], timeout_s: float, on_stuck: Callable[[Job], None]) -> None:
        self.admission = admission
        self.timeout_s = timeout_s if timeout_s > 0 else math.inf  # 0: no limit
        self.batching = Batching()
        self.stuck: set[Job] = set()
        self._on_stuck = on_stuck
        self._live: set[Job] = set()  # waiting or running
        self._overdue: dict[Job, float] = {}  # timed out but still running -> when it counts as stuck
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._filling: asyncio.TimerHandle | None = None  # ends the wait for a fuller batch
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_idle(self) -> bool:
        """Nothing runs or waits, but for what is stuck."""
        return self.admission.in_flight == len(self.stuck) and not self.admission.queued

    def live(self, request_id: str) -> list[Record]:
        """Those of this id that wait or run now."""
        now = time.monotonic()
        return [as_live(job.record(now)) for job in self._live if job.request_id == request_id]

    def enter(self, job: Job, now: float) -> bool:
        """It will be run or told why not; or False: there is no room for it."""
        if self._is_all_stuck() or not self.admission.enter(job, now):
            return False
        self._live.add(job)
        if job.deadline < self._timer_at:
            self._arm(job.deadline, now)
        if self._is_ripe(now):
            self.runner.wake()
        elif self._filling is None:
            self._wait_for_more(now)
        return True

    def take(self) -> list[Job]:
        """Who is to run now in one slot, and must be run; nobody if none waits or more may come. From any thread."""
        jobs: list[Job] = []
        if not self.admission.queued:
            return jobs
        now = time.monotonic()
        if self._is_ripe(now):
            while len(jobs) < self.batching.max_size:
                job = self.admission.take()
                if job is None:
                    break
                job.started_at = now
                jobs.append(job)
        return jobs

    def leave(self, job: Job, now: float) -> None:
        """The job is over. `now`: its end, which whoever ran it has looked up anyway."""
        self._live.discard(job)
        self._overdue.pop(job, None)
        self.stuck.discard(job)
        self.admission.release(now)
        if self.is_idle:
            self._idle.set()
        elif self.batching.max_wait_s:
            self._look()

    async def wait_idle(self) -> None:
        """Returns when nothing runs or waits, but for what is stuck."""
        while not self.is_idle:
            self._idle.clear()
            await self._idle.wait()

    def withdraw(self, job: Job) -> bool:
        """Drop a job that waits; False if it does not."""
        if self.admission.withdraw(job):
            self._live.discard(job)
            if self.is_idle:
                self._idle.set()
            return True
        return False

    # --- batches that wait to be fuller ----------------------------------------------------------------------
    def _is_ripe(self, now: float) -> bool:
        batching = self.batching
        if not batching.max_wait_s or self.admission.queued >= batching.max_size:
            return True
        return self.admission.oldest_came_at() + batching.max_wait_s <= now

    def _look(self) -> None:
        """Wake the runner, or set the timer that will."""
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        if self.admission.queued:
            now = time.monotonic()
            if self._is_ripe(now):
                self.runner.wake()
            if self.admission.queued and self._filling is None:
                self._wait_for_more(now)

    def _wait_for_more(self, now: float) -> None:
        # What is ripe already runs as soon as a slot is free, and then it is looked again.
        left_s = self.admission.oldest_came_at() + self.batching.max_wait_s - now
        wait_s = left_s if 0 < left_s < self.batching.max_wait_s else self.batching.max_wait_s
        self._filling = asyncio.get_running_loop().call_later(wait_s, self._look)

    # --- deadlines -------------------------------------------------------------------------------------------
    def _is_all_stuck(self) -> bool:
        if not self.stuck:
            return False
        slots = {job if job.batch is None else job.batch for job in self.stuck}
        return len(slots) * self.batching.max_size >= self.admission.max_concurrency

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
            elif job.deadline <= now and job in self._live:  # it may have left in this very sweep
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
        # A worker thread that has just taken it may not have noted yet when that was.
        self._overdue[job] = (job.started_at or time.monotonic()) + self.timeout_s + grace_s
        job.time_out(is_running=True)

    def _give_up(self, job: Job) -> None:
        self.stuck.add(job)
        self._on_stuck(job)
        if self._is_all_stuck():
            for waiting in self.admission.waiting():
                if self.withdraw(waiting):
                    waiting.refuse()
        if self.is_idle:
            self._idle.set()


class LoopSlots:
    """Runs jobs in the event loop, at most as many at once as there are slots."""

    def __init__(self, gate: Gate, slots: int, run: Callable[[list[Job]], None]) -> None:
        self.free = slots
        self._gate = gate
        self._run = run
        self._is_running = False

    def wake(self) -> None:
        # A loop and not a call from each to the next: jobs may be over as soon as they are run.
        if self._is_running:
            return
        self._is_running = True
        try:
            while self.free and (jobs := self._gate.take()):
                self.free -= 1
                self._run(jobs)
        finally:
            self._is_running = False

    def release(self) -> None:
        self.free += 1
        self.wake()
