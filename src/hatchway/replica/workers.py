"""Threads that run sync handlers, and whatever else must not hold up the event loop.

A worker that is free takes the next task itself, from what was submitted and then from `source`: under load there is
no turn of the loop between two tasks, only one for all that are done by then. It runs ahead of the loop for a moment
only, or the loop, which needs the interpreter's lock too, would answer late.

Threads are daemons: a handler that never returns must not keep the process alive. They are started as they are
needed; with one thread, everything of the user's happens in it, the handler's `__init__` included.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

RUN_AHEAD_S = 0.0005


class Task(Protocol):
    """`execute` is called in a worker thread and must not raise; `finish` afterwards in the loop."""

    def execute(self) -> None: ...

    def finish(self) -> None: ...


def _nothing() -> None:
    return None


class Workers:
    """At most `max_threads` of them. Each thread calls `prepare_thread` first. `source` is asked in worker threads."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_threads: int,
        prepare_thread: Callable[[], None] | None = None,
        source: Callable[[], Task | None] = _nothing,
    ) -> None:
        self.loop = loop
        self.max_threads = max_threads
        self.source = source
        self._prepare_thread = prepare_thread
        self._submitted: deque[Task] = deque()
        self._done: deque[Task] = deque()
        self._done_since = 0.0  # when the first of them was
        self._is_waking_loop = False
        self._idle: list[threading.Lock] = []  # one for each idle thread, which waits to acquire it
        self._paused: list[threading.Lock] = []  # the same for those that ran too far ahead
        self._threads = 0
        self._wanted = 0

    def submit(self, task: Task) -> None:
        """Call from the loop."""
        self._submitted.append(task)
        self.wake()

    def wake(self) -> None:
        """There is one more task to take. Call from the loop, which wakes threads when its turn is over: what arrives
        in the same turn is then there for them."""
        if not self._wanted:
            self.loop.call_soon(self._wake_threads)
        self._wanted += 1

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run one function in a worker thread; returns or raises what it does, SystemExit included.

        It sees the caller's context variables, so that what it logs is known by its request.
        """
        task = _Call(partial(copy_context().run, function), self.loop.create_future())
        self.submit(task)
        result, error = await task.future
        if error is not None:
            raise error
        return result

    def _wake_threads(self) -> None:
        wanted, self._wanted = self._wanted, 0
        for _ in range(wanted):
            if self._idle:
                self._idle.pop().release()
            elif self._threads < self.max_threads:
                self._threads += 1
                threading.Thread(target=self._work, name=f"handler-{self._threads}", daemon=True).start()
            else:
                return  # all are busy, and take it when they are done

    # --- in a worker thread ----------------------------------------------------------------------------------
    def _work(self) -> None:
        if self._prepare_thread is not None:
            self._prepare_thread()
        bell = threading.Lock()
        bell.acquire()
        while True:
            task = self._take()
            if task is None:
                task = self._take_or_wait(bell)
                if task is None:
                    continue
            task.execute()
            self._done.append(task)
            now = time.monotonic()
            if not self._is_waking_loop:  # one turn of the loop serves every task that is done by then
                self._is_waking_loop = True
                self._done_since = now
                self.loop.call_soon_threadsafe(self._finish_done)
            elif now - self._done_since > RUN_AHEAD_S:
                self._pause(bell)

    def _take(self) -> Task | None:
        try:
            return self._submitted.popleft()
        except IndexError:
            return self.source()

    def _take_or_wait(self, bell: threading.Lock) -> Task | None:
        self._idle.append(bell)
        task = self._take()  # again: who came between the last look and the line above has woken nobody
        if task is None or not _leave(self._idle, bell):
            bell.acquire()
        return task

    def _pause(self, bell: threading.Lock) -> None:
        """Until the loop has finished what is done."""
        self._paused.append(bell)
        if self._is_waking_loop or not _leave(self._paused, bell):
            bell.acquire()

    # --- in the loop -----------------------------------------------------------------------------------------
    def _finish_done(self) -> None:
        self._is_waking_loop = False  # before looking: a task done from now on wakes the loop again
        try:
            while self._done:
                self._done.popleft().finish()
        finally:  # what one task raises is not the others' loss
            if self._done:
                self.loop.call_soon(self._finish_done)
            while self._paused:
                self._paused.pop().release()


def _leave(bells: list[threading.Lock], bell: threading.Lock) -> bool:
    """Take one's bell back; False if somebody else took it, who releases it."""
    try:
        bells.remove(bell)
    except ValueError:
        return False
    return True


class _Call:
    def __init__(self, function: Callable[[], Any], future: asyncio.Future[tuple[Any, BaseException | None]]) -> None:
        self.future = future
        self._function = function
        self._outcome: tuple[Any, BaseException | None] = (None, None)

    def execute(self) -> None:
        try:
            self._outcome = (self._function(), None)
        except BaseException as exc:  # noqa: BLE001 (raised again where it is awaited; a future cannot hold SystemExit)
            self._outcome = (None, exc)

    def finish(self) -> None:
        if not self.future.cancelled():
            self.future.set_result(self._outcome)
