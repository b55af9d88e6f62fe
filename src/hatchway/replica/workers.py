"""Threads that run sync handlers.

Leaner than concurrent.futures, and it knows which thread runs what (for the stack of a stuck one). Threads are
daemons: a handler that never returns must not keep the process alive. They are started as they are needed; the first
one also runs the handler's `__init__`, so that with one slot everything of the user's happens in one thread.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol


class Task(Protocol):
    """`execute` is called in a worker thread and must not raise; `finish` afterwards in the loop."""

    thread_id: int | None

    def execute(self) -> None: ...

    def finish(self) -> None: ...


class Workers:
    """A pool for at most as many tasks as were submitted at once. Each thread calls `prepare_thread` first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, prepare_thread: Callable[[], None] | None = None) -> None:
        self.loop = loop
        self._prepare_thread = prepare_thread
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._done: deque[Task] = deque()
        self._is_waking = False
        self._busy = 0
        self._threads = 0

    def submit(self, task: Task) -> None:
        """Call from the loop. The caller bounds how many are submitted at once: that many threads are started."""
        if self._busy >= self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name=f"handler-{self._threads}", daemon=True).start()
        self._busy += 1
        self._tasks.put(task)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run one function in a worker thread; returns or raises what it does, SystemExit included."""
        task = _Call(function, self.loop.create_future())
        self.submit(task)
        result, error = await task.future
        if error is not None:
            raise error
        return result

    def _work(self) -> None:
        if self._prepare_thread is not None:
            self._prepare_thread()
        while True:
            task = self._tasks.get()
            task.thread_id = threading.get_ident()
            task.execute()
            self._done.append(task)
            if not self._is_waking:  # one wake-up serves every task that is done by then
                self._is_waking = True
                self.loop.call_soon_threadsafe(self._finish_done)

    def _finish_done(self) -> None:
        self._is_waking = False  # before looking: a task done from now on wakes the loop again
        while self._done:
            self._busy -= 1
            self._done.popleft().finish()


class _Call:
    def __init__(self, function: Callable[[], Any], future: asyncio.Future[tuple[Any, BaseException | None]]) -> None:
        self.thread_id: int | None = None
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
